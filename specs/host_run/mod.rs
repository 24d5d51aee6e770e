//! Runs the protocol on this host's kernel: the same roles, the same properties.
//!
//! [`run`] starts an old process ([`vmm`]) with the given devices. It launches a VM whose guest
//! drives the devices, and hands the VM over. All calls are recorded. Afterwards [`verdict`]
//! evaluates the run: the processes' observations, against those of [`crate::properties`] that a
//! host can show; the devices' own counts of DMA and interrupts; and the trace, replayed call by
//! call on the simulated kernel.
//!
//! The devices must be of a kind in [`device::KINDS`], because a run must know how to make them do
//! DMA.

mod observe;
pub mod run_dir;
pub mod verdict;
pub mod vmm;

use crate::scenario::{Scenario, newest};
use handoff_model::abi::ids::Uid;
use handoff_model::protocol::Mode;
use handoff_model::trace::Header;
use handoff_real_backend::spawn;
use handoff_real_backend::sysfs::{Bdf, Sysfs};
use handoff_testbed::device::{self, Kind};
use handoff_testbed::{family, workload};
use run_dir::{RunDir, RunSpec};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use verdict::Verdict;

/// A run to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// The scenario's name in messages.
    pub name: String,
    /// The scenario's text.
    pub text: String,
    /// The parsed scenario.
    pub scenario: Scenario,
    /// The host's devices, one for each of the scenario's devices.
    pub devices: Vec<Bdf>,
    /// True to first kill a new process before each of its steps.
    pub sweep: bool,
}

/// A reason why no run was made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The host lacks a precondition.
    #[error("{what}; {cure}")]
    Missing {
        /// The precondition that is missing.
        what: String,
        /// The remedy.
        cure: String,
    },
    /// The request is invalid.
    #[error("{0}")]
    Request(String),
    /// The folder for the run's files is unusable.
    #[error("files of the run: {0}")]
    Files(#[from] io::Error),
}

fn missing(what: impl Into<String>, cure: impl Into<String>) -> SetupError {
    SetupError::Missing { what: what.into(), cure: cure.into() }
}

/// The longest time that a run may take.
const RUN_MAX: Duration = Duration::from_mins(10);

/// Runs a scenario on this host. Checks all preconditions before it changes any state.
pub fn run(request: &Request) -> Result<Verdict, SetupError> {
    examine(request)?;
    let folder = RunDir::at(&fresh_folder()?);
    let order = RunSpec {
        name: request.name.clone(),
        text: request.text.clone(),
        devices: request.devices.clone(),
        sweep: request.sweep,
    };
    folder.give(&order)?;
    let ended = play(&folder)?;
    let verdict = verdict::judge(&folder, request, ended);
    fs::remove_dir_all(folder.path())?;
    verdict
}

/// Starts the old process and waits until all processes of the run have exited. Returns false if
/// some had to be killed.
fn play(folder: &RunDir) -> Result<bool, SetupError> {
    family::adopt_orphans().map_err(|errno| missing(format!("prctl: {errno}"), "Linux 3.4"))?;
    let argv: Vec<OsString> =
        ["handoff".into(), "vmm".into(), "old".into(), folder.path().into()].to_vec();
    let image = std::env::current_exe()?;
    let null = File::open("/dev/null")?;
    spawn::spawn(&image, &argv, null.into()).map_err(|errno| {
        missing(format!("the old process does not start: {errno}"), "see execve(2)")
    })?;
    Ok(family::reap_all(RUN_MAX))
}

fn fresh_folder() -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("handoff-run-{}", std::process::id()));
    fs::create_dir(&path)?;
    // The run's processes may have another user, who can append to these files but not create any.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    for file in ["notes.jsonl", "events.jsonl"] {
        let file = File::create(path.join(file))?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    }
    Ok(path)
}

/// Checks that the host and the request meet all preconditions of the run.
fn examine(request: &Request) -> Result<(), SetupError> {
    let wanted = request.scenario.plan.devices.len();
    if request.devices.len() != wanted {
        let given = request.devices.len();
        return Err(SetupError::Request(format!(
            "scenario {} has {wanted} devices, but {given} are given; give one --device for each",
            request.name
        )));
    }
    if request.sweep && (request.scenario.mode == Mode::Exec || request.scenario.refused) {
        let what = "--sweep kills a new process before it takes over";
        return Err(SetupError::Request(format!(
            "{what}: it needs a scenario with mode = \"transfer\" that is not refused"
        )));
    }
    if request.scenario.corruption.is_some() {
        let what = format!("scenario {} injects a corruption", request.name);
        return Err(SetupError::Request(format!("{what}, which a host cannot; remove `wrong`")));
    }
    let limits = |bdf: &Bdf| kind_of(*bdf).map(|kind| kind.limits).unwrap_or_default();
    let pages: u64 = request.devices.iter().map(|bdf| workload::pages(limits(bdf))).sum();
    let ram = request.scenario.plan.ram.first().map_or(0, |ram| ram.length_bytes / 4096);
    if ram < pages {
        return Err(SetupError::Request(format!(
            "scenario {}: its devices need {pages} pages in the first [[ram]], which has {ram}; \
             raise `pages`",
            request.name
        )));
    }
    if request.scenario.kernel != newest() {
        let what = format!("scenario {} needs a simulated kernel", request.name);
        let kernel = request.scenario.kernel.name();
        return Err(SetupError::Request(format!("{what}; use one without kernel = \"{kernel}\"")));
    }
    examine_host(&request.devices, &request.scenario)
}

/// The kind of a test device; `None` for any other device.
fn kind_of(bdf: Bdf) -> Option<&'static Kind> {
    Sysfs::default().vendor_and_device(bdf).and_then(device::kind_of)
}

fn examine_host(devices: &[Bdf], scenario: &Scenario) -> Result<(), SetupError> {
    let sysfs = Sysfs::default();
    if let Err(error) = File::options().read(true).write(true).open("/dev/iommu") {
        let cure = "needs CONFIG_IOMMUFD, and permission to open it; see `handoff doctor`";
        return Err(missing(format!("/dev/iommu: {error}"), cure));
    }
    for bdf in devices {
        if !sysfs.exists(*bdf) {
            return Err(missing(format!("there is no PCI device {bdf}"), "see `lspci -D`"));
        }
        if kind_of(*bdf).is_none() {
            let options: Vec<_> = device::names().map(|it| format!("`-device {it}`")).collect();
            let what = format!("{bdf} is not a test device, so a run cannot make it do DMA");
            return Err(missing(what, format!("start QEMU with {}", options.join(" or "))));
        }
        let driver = sysfs.driver(*bdf);
        let Some(cdev) = sysfs.cdev(*bdf).filter(|_| driver.as_deref() == Some("vfio-pci")) else {
            let what = match driver {
                Some(driver) => format!("{bdf} is in use by the driver {driver}"),
                None => format!("{bdf} has no driver"),
            };
            let cure = format!(
                "bind it to vfio-pci: `echo vfio-pci > \
                 /sys/bus/pci/devices/{bdf}/driver_override`, \
                 unbind it, `echo {bdf} > /sys/bus/pci/drivers_probe`"
            );
            return Err(missing(what, cure));
        };
        may_open(&cdev, scenario.old.uid)?;
    }
    may_open(Path::new("/dev/iommu"), scenario.old.uid)?;
    examine_rights(scenario)
}

/// Checks that a user may open a device node, by its owner and mode.
fn may_open(node: &Path, user: Uid) -> Result<(), SetupError> {
    use std::os::unix::fs::MetadataExt;
    let denied = |what: String| missing(what, format!("`chown {user} {}`", node.display()));
    let data =
        fs::metadata(node).map_err(|error| denied(format!("{}: {error}", node.display())))?;
    let shift = if data.uid() == user.0 { 6 } else { 0 };
    if user == Uid(0) || data.mode() >> shift & 6 == 6 {
        return Ok(());
    }
    Err(denied(format!(
        "user {user}, which runs the scenario's VMM, may not open {}",
        node.display()
    )))
}

/// Checks that this process may take on the user and the limit of the scenario, which needs root.
fn examine_rights(scenario: &Scenario) -> Result<(), SetupError> {
    let own = family::own_user();
    if own == Uid(0) || (own == scenario.old.uid && own == scenario.new.uid) {
        return Ok(());
    }
    let what =
        format!("the scenario needs processes of user {}, this is user {own}", scenario.old.uid);
    Err(missing(what, "run it as root"))
}

/// The header of the run's trace.
fn header() -> Header {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Header::new("host", release.trim())
}
