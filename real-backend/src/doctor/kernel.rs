//! Checks of the kernel: version, configuration, iommufd, IOMMU, VFIO driver.

use super::{Finding, ask};
use crate::sys;
use crate::sysfs::{Sysfs, names_in};
use flate2::read::GzDecoder;
use handoff_model::abi::call::IommufdCall;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io::Read;

pub(super) fn examine(files: &Sysfs) -> Vec<Finding> {
    let context = open_iommufd(files);
    vec![
        version(files),
        options(files),
        iommufd(&context),
        change_process(context.as_ref().ok()),
        iommu(files),
        vfio_pci(files),
    ]
}

/// The first release with MAP_FILE and CHANGE_PROCESS.
const RELEASE_MIN: (u32, u32) = (6, 13);

fn version(files: &Sysfs) -> Finding {
    let question = ask("kernel.version", "Linux is 6.13 or later");
    let Some(release) = release(files) else {
        return question.skip("/proc/sys/kernel/osrelease cannot be read");
    };
    match parse_release(&release) {
        None => question.skip(format!("cannot parse the release {release:?}")),
        Some(number) if number >= RELEASE_MIN => question.pass(format!("Linux {release}")),
        Some(_) => question.fail(
            format!("Linux {release} lacks IOMMU_IOAS_CHANGE_PROCESS"),
            "boot Linux 6.13 or later",
        ),
    }
}

fn release(files: &Sysfs) -> Option<String> {
    let text = std::fs::read_to_string(files.path("proc/sys/kernel/osrelease")).ok()?;
    Some(text.trim().to_owned())
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Options that a handoff needs, built in or as a module.
const OPTIONS: [&str; 4] =
    ["CONFIG_IOMMUFD", "CONFIG_VFIO_DEVICE_CDEV", "CONFIG_VFIO_PCI", "CONFIG_MEMFD_CREATE"];

fn options(files: &Sysfs) -> Finding {
    let question = ask("kernel.options", "the kernel is built with iommufd and VFIO device files");
    let Some((place, options)) = configuration(files) else {
        return question.skip("neither /proc/config.gz nor /boot/config-RELEASE can be read");
    };
    let missing: Vec<&str> =
        OPTIONS.into_iter().filter(|option| !is_on(&options, option)).collect();
    if missing.is_empty() {
        return question.pass(format!("{} in {place}", OPTIONS.join(", ")));
    }
    let settings: Vec<String> = missing.iter().map(|option| format!("{option}=y")).collect();
    question.fail(
        format!("{} not set in {place}", missing.join(", ")),
        format!("build a kernel with {}", settings.join(" ")),
    )
}

fn is_on(options: &str, option: &str) -> bool {
    let value = |line: &str| Some(line.strip_prefix(option)?.strip_prefix('=')?.to_owned());
    options.lines().find_map(value).is_some_and(|value| value == "y" || value == "m")
}

/// The path and the text of the kernel's configuration.
fn configuration(files: &Sysfs) -> Option<(String, String)> {
    let mut options = String::new();
    if let Ok(packed) = std::fs::File::open(files.path("proc/config.gz"))
        && GzDecoder::new(packed).read_to_string(&mut options).is_ok()
    {
        return Some(("/proc/config.gz".to_owned(), options));
    }
    let name = format!("boot/config-{}", release(files)?);
    let options = std::fs::read_to_string(files.path(&name)).ok()?;
    Some((format!("/{name}"), options))
}

fn open_iommufd(files: &Sysfs) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(files.path("dev/iommu"), flags, Mode::empty()).map_err(sys::errno)
}

fn iommufd(context: &Result<OwnedFd, Errno>) -> Finding {
    let question = ask("iommufd.node", "/dev/iommu can be opened");
    match context {
        Ok(_) => question.pass("opened"),
        Err(Errno::ENOENT) => {
            question.fail("/dev/iommu does not exist", "modprobe iommufd (CONFIG_IOMMUFD)")
        }
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => question.fail(
            format!("{errno}: {}", errno.text()),
            "setfacl -m u:\"$(id -un)\":rw /dev/iommu, and pass it into the container",
        ),
        Err(errno) => question.fail(format!("{errno}: {}", errno.text()), "see dmesg"),
    }
}

/// Probes with a reserved field set: a kernel that has the ioctl answers `EOPNOTSUPP`.
fn change_process(context: Option<&OwnedFd>) -> Finding {
    let question = ask("iommufd.change_process", "iommufd can change the owner of pinned pages");
    let Some(context) = context else { return question.skip("needs /dev/iommu") };
    let probe = IommufdCall::probe_change_process(Fd(context.as_raw_fd()));
    match sys::ioctl(&probe) {
        Err(Errno::EOPNOTSUPP) => question.pass("IOMMU_IOAS_CHANGE_PROCESS is supported"),
        Err(Errno::ENOTTY) => {
            question.fail("IOMMU_IOAS_CHANGE_PROCESS is not supported", "boot Linux 6.13 or later")
        }
        other => question.skip(format!("unexpected result of the probe: {other:?}")),
    }
}

fn iommu(files: &Sysfs) -> Finding {
    let question = ask("iommu.present", "an IOMMU is present");
    let names = names_in(&files.path("sys/class/iommu"));
    if names.is_empty() {
        return question.fail(
            "/sys/class/iommu is empty",
            "enable VT-d, AMD-Vi or SMMU in the firmware; on Intel boot with intel_iommu=on",
        );
    }
    question.pass(names.join(", "))
}

fn vfio_pci(files: &Sysfs) -> Finding {
    let question = ask("vfio.pci", "the driver vfio-pci is loaded");
    if files.path("sys/bus/pci/drivers/vfio-pci").is_dir() {
        return question.pass("/sys/bus/pci/drivers/vfio-pci");
    }
    question.fail("/sys/bus/pci/drivers/vfio-pci does not exist", "modprobe vfio-pci")
}
