//! The structs of a scenario file that serde reads and writes, before names are resolved.
//!
//! A key with its default value is not written, so a built file is as short as a handwritten one.

use super::faults::FaultBudget;
use handoff_model::protocol::Mode;
use handoff_model::vm::launch::HwptPlan;
use handoff_model::vm::{Backing, Dma};
use serde::{Deserialize, Serialize};

/// A scenario file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) about: String,
    pub(super) mode: Mode,
    pub(super) kernel: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) kvm: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) dma: Dma,
    pub(super) ram: Vec<Ram>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) iommufd: Vec<Iommufd>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) space: Vec<Space>,
    pub(super) device: Vec<DeviceEntry>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) process: ProcessEntry,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) new: ProcessEntry,
    #[serde(rename = "may", alias = "faults", default, skip_serializing_if = "is_default")]
    pub(super) fault_budget: FaultBudget,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) refused: bool,
    #[serde(rename = "wrong", alias = "corruption")]
    pub(super) corruption: Option<String>,
    pub(super) variant: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) defects: Vec<String>,
    pub(super) mutant: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A block of guest RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ram {
    pub(super) name: String,
    pub(super) pages: u64,
    pub(super) iova: u64,
    pub(super) backing: Option<Backing>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) map: MapBy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MapBy {
    #[default]
    File,
    Address,
}

/// An iommufd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iommufd {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) accounting: Accounting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Accounting {
    #[default]
    User,
    Process,
}

/// An IOAS; with `dma = "type1"`, a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    pub(super) name: String,
    pub(super) iommufd: Option<String>,
}

/// A VFIO device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEntry {
    pub(super) name: String,
    pub(super) space: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) kind: KindEntry,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) needs_kvm: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) hwpt: HwptPlan,
    pub(super) bar_iova: Option<u64>,
    pub(super) interrupts: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) armed_later: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindEntry {
    #[default]
    Pci,
    Mdev,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessEntry {
    pub(super) uid: Option<u32>,
    pub(super) cap_ipc_lock: Option<bool>,
    pub(super) memlock_pages: Option<u64>,
}
