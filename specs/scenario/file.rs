//! A scenario file as it stands, before anything in it is looked up.

use super::faults::May;
use handoff_model::launch::HwptPlan;
use handoff_model::protocol::Mode;
use handoff_model::vm::{Backing, Dma};
use serde::Deserialize;

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    #[serde(default)]
    pub(super) about: String,
    pub(super) mode: Mode,
    #[serde(default = "newest")]
    pub(super) kernel: String,
    #[serde(default)]
    pub(super) kvm: bool,
    #[serde(default)]
    pub(super) dma: Dma,
    pub(super) ram: Vec<Ram>,
    #[serde(default)]
    pub(super) iommufd: Vec<Iommufd>,
    #[serde(default)]
    pub(super) space: Vec<Space>,
    pub(super) device: Vec<DeviceEntry>,
    #[serde(default)]
    pub(super) process: ProcessEntry,
    #[serde(default)]
    pub(super) new: ProcessEntry,
    #[serde(default)]
    pub(super) may: May,
    #[serde(default)]
    pub(super) refused: bool,
    pub(super) wrong: Option<String>,
    #[serde(default = "safe")]
    pub(super) variant: String,
    #[serde(default)]
    pub(super) defects: Vec<String>,
    pub(super) mutant: Option<String>,
}

fn safe() -> String {
    "safe".to_owned()
}

fn newest() -> String {
    "7.3".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ram {
    pub(super) name: String,
    pub(super) pages: u64,
    pub(super) iova: u64,
    #[serde(default = "file")]
    pub(super) backing: Backing,
    #[serde(default)]
    pub(super) map: MapBy,
}

fn file() -> Backing {
    Backing::File
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MapBy {
    #[default]
    File,
    Address,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Iommufd {
    pub(super) name: String,
    #[serde(default)]
    pub(super) accounting: Accounting,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Accounting {
    #[default]
    User,
    Process,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Space {
    pub(super) name: String,
    pub(super) iommufd: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceEntry {
    pub(super) name: String,
    pub(super) space: Option<String>,
    #[serde(default)]
    pub(super) kind: KindEntry,
    #[serde(default)]
    pub(super) needs_kvm: bool,
    #[serde(default)]
    pub(super) hwpt: HwptPlan,
    pub(super) bar_iova: Option<u64>,
    #[serde(default = "one")]
    pub(super) interrupts: u16,
    #[serde(default)]
    pub(super) armed_later: bool,
}

fn one() -> u16 {
    1
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindEntry {
    #[default]
    Pci,
    Mdev,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessEntry {
    pub(super) uid: Option<u32>,
    pub(super) cap_ipc_lock: Option<bool>,
    pub(super) memlock_pages: Option<u64>,
}
