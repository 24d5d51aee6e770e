//! Capabilities of this host: devices and kernel features that facts need, and the reasons why one
//! is missing.
//!
//! Detection only reads, and opens and closes files; it changes no state.
//!
//! Mirrors `Documentation/ABI/testing/sysfs-bus-vfio-dev` and `vfio-mdev`.

use super::{Capability, Device};
use handoff_model::abi::argument::Ioctl;
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::kernel::Kernel;
use handoff_model::abi::request;
use handoff_real_backend::host::{Host, NoGuest};
use handoff_real_backend::memory::Memory;
use handoff_real_backend::sysfs::{Bdf, Sysfs};
use handoff_testbed::device::EDU;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A device of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Path of its VFIO device file.
    pub(super) path: String,
    /// PCI address, if it is a PCI device.
    pub(super) bdf: Option<Bdf>,
}

impl Place {
    /// Returns the path of its group file, and the name that the group has for the device.
    pub(super) fn group(&self) -> (String, String) {
        let name = Path::new(&self.path).file_name().unwrap_or_default();
        let device = Path::new("/sys/class/vfio-dev").join(name).join("device");
        let end_of = |link: &Path| {
            let target = fs::canonicalize(link).unwrap_or_default();
            target.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        (format!("/dev/vfio/{}", end_of(&device.join("iommu_group"))), end_of(&device))
    }
}

/// Capabilities of this host; an error describes a missing one.
#[derive(Clone, Debug)]
pub(super) struct Capabilities {
    pub(super) devices: BTreeMap<Device, Place>,
    release: String,
    mock: Result<(), String>,
    kvm: Result<(), String>,
    type1: Result<(), String>,
    fail_nth: Result<(), String>,
}

impl Capabilities {
    pub(super) fn of_this_host() -> Self {
        let sysfs = Sysfs::default();
        let devices = devices(&sysfs);
        let edu = devices.get(&Device::Edu).and_then(|place| place.bdf);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            release: release.trim().to_owned(),
            mock: mock(),
            kvm: everybody_may_open("/dev/kvm"),
            type1: type1(edu.and_then(|bdf| sysfs.iommu_group(bdf))),
            fail_nth: fail_nth(),
            devices,
        }
    }

    /// Returns the reason why this host lacks a capability.
    pub(super) fn lacks(&self, need: &Capability) -> Option<String> {
        match need {
            Capability::Has(device) => match self.devices.get(device) {
                Some(place) => everybody_may_open(&place.path).err(),
                None => Some(no_device(*device).to_owned()),
            },
            Capability::Mock => self.mock.clone().err(),
            Capability::Kvm => self.kvm.clone().err(),
            Capability::Type1 => self.type1.clone().err(),
            Capability::FailNth => self.fail_nth.clone().err(),
            Capability::Release(name) => {
                let is_it = self
                    .release
                    .strip_prefix(name)
                    .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
                (!is_it).then(|| format!("a kernel {name}; this is {}", self.release))
            }
            Capability::Simulated(reason) => Some(format!("a simulated kernel: {reason}")),
        }
    }
}

fn no_device(device: Device) -> &'static str {
    match device {
        Device::Edu => "an edu device of QEMU on vfio-pci",
        Device::OtherEdu => "a second edu device of QEMU on vfio-pci",
        Device::Mtty => "an mdev of the mtty sample",
        Device::Alone => "an edu device behind a root port of its own",
        Device::Sibling => "a second device in the IOMMU group of the first",
        Device::Many => "a device with several vectors of MSI and MSI-X",
        Device::Tied => "an mdev that needs KVM",
    }
}

fn devices(sysfs: &Sysfs) -> BTreeMap<Device, Place> {
    let is_edu = |bdf: &Bdf| {
        sysfs.vendor_and_device(*bdf) == Some(EDU.vendor_and_device)
            && sysfs.driver(*bdf).is_some_and(|driver| driver == "vfio-pci")
    };
    let edus = sysfs.pci_devices().into_iter().filter(is_edu).filter_map(|bdf| {
        let path = sysfs.cdev(bdf)?.to_str()?.to_owned();
        Some(Place { path, bdf: Some(bdf) })
    });
    let mtty = sysfs.mdev_cdevs("mtty").into_iter().next();
    let mtty = mtty.and_then(|path| Some(Place { path: path.to_str()?.to_owned(), bdf: None }));
    let edus = [Device::Edu, Device::OtherEdu, Device::Alone].into_iter().zip(edus);
    edus.chain(mtty.map(|place| (Device::Mtty, place))).collect()
}

/// Checks that every user may open a file, because facts have processes of any user.
fn everybody_may_open(path: &str) -> Result<(), String> {
    let mode = fs::metadata(path).map_err(|_| path.to_owned())?.permissions().mode();
    let may = mode & 0o006 == 0o006;
    if may { Ok(()) } else { Err(format!("the right to open {path}; `chmod 666 {path}`")) }
}

/// A process that only queries.
struct Asker(Host);

impl Asker {
    fn new() -> Self {
        Self(Host::new(Vec::new(), Memory::default(), Box::new(NoGuest)))
    }

    fn open(&mut self, path: &str) -> Result<Fd, String> {
        match self.0.call(&Call::File(FileCall::Open { path: path.to_owned() })) {
            Ok(Reply::Fd(fd)) => Ok(fd),
            other => Err(format!("{path} ({other:?})")),
        }
    }

    fn ioctl(&mut self, fd: Fd, ioctl: Ioctl) -> Result<u32, Errno> {
        match self.0.call(&Call::Ioctl { fd, ioctl })? {
            Reply::Ioctl(outcome) => outcome.result,
            other => unreachable!("{other:?} is no answer to an ioctl"),
        }
    }

    fn close(&mut self, fd: Fd) {
        let _ = self.0.call(&Call::File(FileCall::Close { fd }));
    }
}

/// Checks for `CONFIG_IOMMUFD_TEST`. If the command exists, it reads its argument before any other
/// check.
fn mock() -> Result<(), String> {
    let mut asker = Asker::new();
    let iommufd = asker.open("/dev/iommu")?;
    let answer = asker.ioctl(iommufd, Ioctl::with_value(request::IOMMU_TEST_CMD, 0));
    asker.close(iommufd);
    match answer {
        Err(Errno::ENOTTY) => Err("mock domains (CONFIG_IOMMUFD_TEST)".to_owned()),
        _ => everybody_may_open("/dev/iommu"),
    }
}

/// `VFIO_TYPE1v2_IOMMU`.
const TYPE1V2: u64 = 3;

fn type1(group: Option<String>) -> Result<(), String> {
    let group = group.ok_or(no_device(Device::Edu))?;
    let (container, group) = ("/dev/vfio/vfio", format!("/dev/vfio/{group}"));
    for path in [container, &group] {
        everybody_may_open(path)?;
    }
    let mut asker = Asker::new();
    let container = asker.open(container)?;
    let group = asker.open(&group)?;
    let joins = Ioctl::of(request::VFIO_GROUP_SET_CONTAINER, container.0.to_ne_bytes().to_vec());
    let done = asker
        .ioctl(group, joins)
        .and_then(|_| asker.ioctl(container, Ioctl::with_value(request::VFIO_SET_IOMMU, TYPE1V2)));
    asker.close(group);
    asker.close(container);
    done.map(drop).map_err(|errno| format!("containers with a type1 IOMMU ({errno})"))
}

/// Checks fault injection. Unless `ignore-gfp-wait` is off, no allocation that may sleep fails.
fn fail_nth() -> Result<(), String> {
    let file = "/proc/self/fail-nth";
    if !Path::new(file).exists() {
        return Err(format!("{file} (CONFIG_FAULT_INJECTION)"));
    }
    let knob = "/sys/kernel/debug/failslab/ignore-gfp-wait";
    match fs::read_to_string(knob) {
        Ok(text) if text.trim() == "N" => Ok(()),
        _ => Err(format!("failing allocations that may sleep; `echo N > {knob}`")),
    }
}
