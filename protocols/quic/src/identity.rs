//! Certificates without an authority: a server's own, and a client that knows what to make of it.
use core::time::Duration;
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use rcgen::{PublicKeyData, SignatureAlgorithm};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
    sign::{CertifiedKey, Signer, SigningKey as RustlsKey, SingleCertAndKey},
};
use sansbox_core::Seed;
use std::sync::Arc;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// How far before and after the moment it was made a certificate is valid.
const VALID_BEFORE: Duration = Duration::from_secs(60 * 60);
const VALID_AFTER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A private key on P-256 whose signatures need no randomness (RFC 6979). Wiped when dropped.
#[derive(Clone)]
pub struct Key {
    signing: SigningKey,
    /// The public point, uncompressed.
    public: Arc<[u8]>,
}

/// The private half is wiped when dropped.
const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<SigningKey>();
};

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// The first key that `candidate` leads to, which is asked for the numbers from 0 on and must
    /// give 32 uniformly random secret octets for each. One in 2^32 is no key (FIPS 186-5 A.2.2).
    #[must_use]
    pub fn first_of<B: AsRef<[u8]>>(mut candidate: impl FnMut(u64) -> B) -> Self {
        let signing = (0..)
            .find_map(|n| SigningKey::from_slice(candidate(n).as_ref()).ok())
            .expect("nearly every number is a key");
        let public = signing.verifying_key().to_sec1_point(false);
        let public = public.as_bytes().into();
        Self { signing, public }
    }

    fn draw(seed: &Seed) -> Self {
        Self::first_of(|n| Zeroizing::new(seed.derive_nth("key", n).bytes()))
    }

    /// What a client may pin.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::of(&self.subject_public_key_info())
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.signing.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.signature(message))
    }
}

impl RustlsKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        offered
            .contains(&scheme)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ECDSA
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.subject_public_key_info().into())
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.signature(message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// A server's self-signed certificate and its key.
#[derive(Debug)]
pub struct Identity {
    certified: Arc<SingleCertAndKey>,
    pin: Pin,
}

impl Identity {
    /// As [`Identity::of_key`], with a key drawn from `seed`: the same seed and time give the same
    /// certificate.
    ///
    /// # Errors
    /// As [`Identity::of_key`].
    pub fn self_signed(seed: &Seed, now: Duration) -> Result<Self, rcgen::Error> {
        Self::of_key(Key::draw(seed), now)
    }

    /// ECDSA on P-256 without a subject, an issuer or names, valid for a year from `now`, the time
    /// since 1970.
    ///
    /// # Errors
    /// When the time is out of what a certificate can hold.
    pub fn of_key(key: Key, now: Duration) -> Result<Self, rcgen::Error> {
        let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.serial_number = Some(1_u64.into());
        parameters.key_usages = vec![
            rcgen::KeyUsagePurpose::DigitalSignature,
            rcgen::KeyUsagePurpose::KeyEncipherment,
        ];
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        parameters.not_before = epoch + now.saturating_sub(VALID_BEFORE);
        parameters.not_after = epoch + now.saturating_add(VALID_AFTER);
        let certificate = parameters.self_signed(&key)?;
        let pin = key.pin();
        let certified = CertifiedKey::new(vec![certificate.into()], Arc::new(key));
        Ok(Self {
            certified: Arc::new(certified.into()),
            pin,
        })
    }

    /// What a client may pin.
    #[must_use]
    pub const fn pin(&self) -> Pin {
        self.pin
    }

    /// As rustls wants it.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.certified)
    }
}

/// SHA-256 of a certificate's `SubjectPublicKeyInfo`, as in RFC 7469.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    fn of(spki: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut pin = [0; 32];
        pin.copy_from_slice(digest.as_ref());
        Self(pin)
    }
}

/// Accepts any certificate, or any with one key. Either way its owner must prove to have the key.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    pub(crate) pin: Option<Pin>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        match self.pin {
            Some(pin) if pin != Pin::of(&certificate.subject_public_key_info()) => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
