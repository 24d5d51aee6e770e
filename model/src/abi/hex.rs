//! Byte strings as lower-case hex (`#[serde(with)]`), for records, calls and traces.

use serde::{Deserialize, Deserializer, Serializer};

/// Returns the bytes as lower-case digits, two per byte.
pub fn encode(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Returns the bytes of an even number of hex digits; `None` for any other text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| serde::de::Error::custom("not a string of hex digits"))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn round_trip_and_refusals() {
        assert_eq!(decode(&encode(&[0, 1, 0xfe])), Some(vec![0, 1, 0xfe]));
        for bad in ["0", "0g", "é0", "+1"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
