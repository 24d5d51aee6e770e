//! Scenarios: a virtual machine as its operator knows it, and what may go wrong, in a TOML file.
//!
//! A file is read strictly: an unknown key, a name that nothing has, two blocks at one address are
//! refused in one line that names the file, the place and the cure. Behind [`Scenario::parse`]
//! everything resolves.
//!
//! ```toml
//! name = "two-devices"
//! mode = "transfer"                 # or "exec"
//! kernel = "7.3"                    # a simulated kernel: see `handoff list`
//! variant = "safe"                  # the protocol: see `handoff list`
//! kvm = true                        # interrupts by irqfds; without: the VMM reads its eventfds
//! dma = "iommufd"                   # or "type1": containers, one a [[space]]; only with a variant for them
//!
//! [[ram]]
//! name = "ram0"
//! pages = 2
//! iova = 0x100000
//!
//! [[device]]
//! name = "nic0"
//! interrupts = 1
//! # armed_later = true              # of the last device: armed only when its guest asks, at some time before it is stopped
//! # hwpt = "own"                   # instead of the kernel's "shared" one; or "nest-parent", which a space has one of
//! # bar_iova = 0x200000             # the other devices of its space reach its BAR 0 there
//!
//! [process]                         # of both; [new] overrides for the new one
//! uid = 1000
//! memlock_pages = 4
//!
//! # wrong = "ram-other"             # what is told that is not so: see `handoff list wrongs`
//! # mutant = "row old Revoke"       # what the protocol leaves out: see `handoff list mutants`
//!
//! [may]                             # what may go wrong, at any step
//! fail_calls = 1
//! kill = 1
//! cancel = true
//! ```

pub mod bugs;
pub mod corruption;
pub mod expectation;
pub mod generated;
mod injections;
pub mod library;
mod names;
mod plan;

use crate::scenario::corruption::Wrong;
use crate::scenario::expectation::Due;
use handoff_model::defect::Defect;
use handoff_model::ids::{PAGE_BYTES, Uid};
use handoff_model::launch::{HwptPlan, Plan};
use handoff_model::mutant::Omission;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::variant::Variant;
use handoff_model::vm::{Backing, Dma};
use handoff_sim_kernel::Profile;
pub(crate) use injections::find_variant;
use injections::{check_kernel, check_variant, check_wrong, find_defect, find_mutant, find_wrong};
use serde::Deserialize;

/// A scenario that has been read and resolved.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// How the new program comes to life.
    pub mode: Mode,
    /// The simulated kernel.
    pub kernel: Profile,
    /// The virtual machine.
    pub plan: Plan,
    /// The old process.
    pub old: Process,
    /// The new process.
    pub new: Process,
    /// What may go wrong.
    pub may: May,
    /// Whether the protocol must refuse it before the guest stops.
    pub refused: bool,
    /// What is told that is not so.
    pub wrong: Option<&'static Wrong>,
    /// The protocol, before a known bug is planted in it.
    pub variant: &'static Variant,
    /// Known bugs that are planted.
    pub defects: Vec<&'static Defect>,
    /// What the protocol leaves out.
    pub mutant: Option<Omission>,
}

/// A process's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its user.
    pub uid: Uid,
    /// CAP_IPC_LOCK.
    pub cap_ipc_lock: bool,
    /// RLIMIT_MEMLOCK in bytes.
    pub memlock_bytes: u64,
}

/// What the environment may do, and how often in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct May {
    /// Calls that fail with an errno of the environment's choice.
    pub fail_calls: u8,
    /// Processes that are killed.
    pub kill: u8,
    /// Somebody calls the handoff off.
    pub cancel: bool,
    /// Interrupts that each device raises.
    pub interrupts: u8,
    /// Steps of progress that the guest makes.
    pub guest_steps: u8,
}

impl Default for May {
    fn default() -> Self {
        Self { fail_calls: 1, kill: 1, cancel: true, interrupts: 1, guest_steps: 1 }
    }
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    about: String,
    mode: Mode,
    #[serde(default = "newest")]
    kernel: String,
    #[serde(default)]
    kvm: bool,
    #[serde(default)]
    dma: Dma,
    ram: Vec<Ram>,
    #[serde(default)]
    iommufd: Vec<Iommufd>,
    #[serde(default)]
    space: Vec<Space>,
    device: Vec<DeviceEntry>,
    #[serde(default)]
    process: ProcessEntry,
    #[serde(default)]
    new: ProcessEntry,
    #[serde(default)]
    may: May,
    #[serde(default)]
    refused: bool,
    wrong: Option<String>,
    #[serde(default = "safe")]
    variant: String,
    #[serde(default)]
    defects: Vec<String>,
    mutant: Option<String>,
}

fn safe() -> String {
    "safe".to_owned()
}

fn newest() -> String {
    "7.3".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ram {
    name: String,
    pages: u64,
    iova: u64,
    #[serde(default = "file")]
    backing: Backing,
    #[serde(default)]
    map: MapBy,
}

fn file() -> Backing {
    Backing::File
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MapBy {
    #[default]
    File,
    Address,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Iommufd {
    name: String,
    #[serde(default)]
    accounting: Accounting,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Accounting {
    #[default]
    User,
    Process,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Space {
    name: String,
    iommufd: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEntry {
    name: String,
    space: Option<String>,
    #[serde(default)]
    kind: KindEntry,
    #[serde(default)]
    needs_kvm: bool,
    #[serde(default)]
    hwpt: HwptPlan,
    bar_iova: Option<u64>,
    #[serde(default = "one")]
    interrupts: u16,
    #[serde(default)]
    armed_later: bool,
}

fn one() -> u16 {
    1
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindEntry {
    #[default]
    Pci,
    Mdev,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessEntry {
    uid: Option<u32>,
    cap_ipc_lock: Option<bool>,
    memlock_pages: Option<u64>,
}

impl ProcessEntry {
    fn or(self, other: Self) -> Self {
        Self {
            uid: self.uid.or(other.uid),
            cap_ipc_lock: self.cap_ipc_lock.or(other.cap_ipc_lock),
            memlock_pages: self.memlock_pages.or(other.memlock_pages),
        }
    }

    fn resolve(self) -> Process {
        Process {
            uid: Uid(self.uid.unwrap_or(1000)),
            cap_ipc_lock: self.cap_ipc_lock.unwrap_or(false),
            memlock_bytes: self
                .memlock_pages
                .map_or(u64::MAX, |pages| pages.saturating_mul(PAGE_BYTES)),
        }
    }
}

/// Why a scenario was refused: one line, with the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct Refusal {
    file: String,
    what: String,
}

/// The most devices, which each have their place in every state.
pub(crate) const DEVICES_MAX: usize = 16;

/// `VFIO_PCI_MSI_IRQ_INDEX`.
pub const MSI: u32 = 1;

impl Scenario {
    /// Reads a scenario. `file` is what messages call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, Refusal> {
        let refuse = |what: String| Refusal { file: file.to_owned(), what };
        let parsed: File = toml::from_str(text).map_err(|error| refuse(place(text, &error)))?;
        parsed.resolve().map_err(refuse)
    }

    /// What the protocol must make of it.
    pub fn due(&self) -> Due {
        match (self.wrong, self.refused) {
            (Some(wrong), _) => wrong.due_of(self.variant),
            (None, true) => Due::RefusedBeforeStop,
            (None, false) => Due::Done,
        }
    }

    /// Whether a variant could be in the place of its own.
    pub fn is_for(&self, variant: &Variant) -> bool {
        variant.is_for(self.mode, self.plan.dma) && self.variant.kernel == variant.kernel
    }

    /// The protocol, with the planted bugs in it.
    pub fn protocol(&self) -> Protocol {
        let variant = Protocol::of(self.variant);
        let planted = self.defects.iter().fold(variant, |protocol, defect| defect.plant(protocol));
        self.mutant.into_iter().fold(planted, Protocol::without)
    }
}

/// A TOML error in one line: `line 3: unknown field …`.
fn place(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    match error.span() {
        Some(span) => format!("line {}: {message}", 1 + text[..span.start].matches('\n').count()),
        None => message,
    }
}

impl File {
    fn resolve(self) -> Result<Scenario, String> {
        let kernel = Profile::by_name(&self.kernel).ok_or_else(|| {
            let known = Profile::all().map(Profile::name).collect::<Vec<_>>().join(", ");
            format!("kernel {:?} is not known; one of {known}", self.kernel)
        })?;
        let defects: Vec<_> =
            self.defects.iter().map(|id| find_defect(id)).collect::<Result<_, _>>()?;
        let wrong = self.wrong.as_deref().map(find_wrong).transpose()?;
        check_wrong(wrong, self.mode, self.dma, self.refused)?;
        let variant = find_variant(&self.variant, self.mode, self.dma)?;
        let mutant = self.mutant.as_deref().map(|name| find_mutant(variant, name)).transpose()?;
        check_kernel(variant, &self.kernel)?;
        defects.iter().try_for_each(|defect| check_variant(defect, variant))?;
        let old = self.process.resolve();
        let new = self.new.or(self.process).resolve();
        if self.mode == Mode::Exec && new != old {
            return Err(
                "[new] differs from [process], but an execve changes neither user nor limit; \
                 remove [new] or use mode = \"transfer\""
                    .to_owned(),
            );
        }
        let (mode, may, refused) = (self.mode, self.may, self.refused);
        let (name, about) = (self.name.clone(), self.about.clone());
        Ok(Scenario {
            plan: self.plan()?,
            name,
            about,
            mode,
            kernel,
            old,
            new,
            may,
            refused,
            wrong,
            variant,
            defects,
            mutant,
        })
    }
}
