//! `pnq://` links: a client's profile as one word that can be pasted.
use super::{
    cbor::{CborError, EncodeError},
    model::Profile,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// What a link begins with, in any case.
pub const SCHEME: &str = "pnq://";

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// Why a text is no link to a profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// It begins with something else.
    #[error("a link begins with {SCHEME}")]
    Scheme,
    /// What follows is no base64.
    #[error("behind {SCHEME} stands no base64")]
    Base64,
    /// What follows is base64 of something else.
    #[error(transparent)]
    Profile(#[from] CborError),
}

impl Profile {
    /// The link for clients: `pnq://` and the base64url, without padding, of the CBOR of
    /// [`Profile::for_clients`]. The server's private key is never in it.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn to_link(&self) -> Result<Zeroizing<String>, EncodeError> {
        let cbor = self.for_clients().to_cbor()?;
        let len = SCHEME.len() + cbor.len().div_ceil(3) * 4;
        let mut link = Zeroizing::new(String::with_capacity(len));
        link.push_str(SCHEME);
        URL_SAFE.encode_string(&*cbor, &mut link);
        Ok(link)
    }

    /// Reads a link. Standard base64 is read as well as base64url, both with padding or without;
    /// blanks around the link are ignored.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn from_link(link: &str) -> Result<Self, LinkError> {
        let link = link.trim();
        let (scheme, code) = link
            .split_at_checked(SCHEME.len())
            .ok_or(LinkError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(LinkError::Scheme);
        }
        let engine = match code.contains(['+', '/']) {
            true => &STANDARD,
            false => &URL_SAFE,
        };
        let mut cbor = Zeroizing::new(Vec::with_capacity(code.len()));
        let decoded = engine.decode_vec(code, &mut cbor);
        decoded.map_err(|_| LinkError::Base64)?;
        Ok(Self::from_cbor(&cbor)?)
    }
}
