//! Passing over a value that nobody asked for.
use super::decode::{CborReason, broken};
use minicbor::{Decoder, data::Type};

/// What is open around an item.
enum Open {
    /// So many items are still to come.
    Items(u64),
    /// Items come until a break, which in a map may only follow a whole pair.
    UntilBreak { is_map: bool, is_odd: bool },
}

/// Passes over one value. The decoder's own way takes a map of indefinite length that ends between
/// a key and its value for whole; Go refuses that, and so does RFC 8949 section 3.2.2. The stack
/// grows with the bytes that are there, not with lengths that they claim.
pub(super) fn skip(decoder: &mut Decoder<'_>) -> Result<(), CborReason> {
    let mut open = vec![Open::Items(1)];
    while let Some(innermost) = open.last_mut() {
        if let Open::Items(0) = innermost {
            open.pop();
            continue;
        }
        let datatype = decoder.datatype().map_err(|e| broken(&e))?;
        match innermost {
            Open::Items(left) => *left = left.saturating_sub(1),
            Open::UntilBreak { is_map, is_odd } if datatype == Type::Break => {
                if *is_map && *is_odd {
                    return Err(CborReason::Malformed(decoder.position()));
                }
                decoder.skip().map_err(|e| broken(&e))?;
                open.pop();
                continue;
            }
            Open::UntilBreak { is_odd, .. } => *is_odd = !*is_odd,
        }
        open.extend(begin(decoder, datatype)?);
    }
    Ok(())
}

/// Passes over an item, or the beginning of one that holds others.
fn begin(decoder: &mut Decoder<'_>, datatype: Type) -> Result<Option<Open>, CborReason> {
    let until_break = |is_map| Open::UntilBreak {
        is_map,
        is_odd: false,
    };
    let is_map = matches!(datatype, Type::Map | Type::MapIndef);
    if is_map || matches!(datatype, Type::Array | Type::ArrayIndef) {
        let len = match is_map {
            true => decoder.map(),
            false => decoder.array(),
        };
        let len = len.map_err(|e| broken(&e))?;
        // Of pairs that many are not there: the count need not be exact.
        let items = len.map(|len| if is_map { len.saturating_mul(2) } else { len });
        return Ok(Some(items.map_or_else(|| until_break(is_map), Open::Items)));
    }
    if datatype == Type::Tag {
        decoder.tag().map_err(|e| broken(&e))?;
        return Ok(Some(Open::Items(1)));
    }
    if datatype == Type::Break {
        return Err(CborReason::Malformed(decoder.position()));
    }
    decoder.skip().map_err(|e| broken(&e))?;
    Ok(None)
}
