//! Resource limits in traces: bytes, or -1 for none (`#[serde(with = "…")]`).

use crate::abi::call::UNLIMITED;
use serde::{Deserialize, Deserializer, Serializer};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn serialize<S: Serializer>(limit: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match *limit {
        UNLIMITED => serializer.serialize_i64(-1),
        bytes => serializer.serialize_u64(bytes),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    match (number.as_u64(), number.as_i64()) {
        (Some(bytes), _) => Ok(bytes),
        (None, Some(-1)) => Ok(UNLIMITED),
        _ => Err(serde::de::Error::custom(format!("{number} is not a limit"))),
    }
}
