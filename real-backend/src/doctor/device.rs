//! Checks of one device: it exists, is bound to VFIO, can be opened, has its group alone, is
//! unused.

use super::{Finding, Status, ask};
use crate::sysfs::{Bdf, Sysfs, names_in};
use rustix::fs::{Access, AtFlags, CWD};

pub(super) fn examine(files: &Sysfs, bdf: Bdf) -> Vec<Finding> {
    let present = present(files, bdf);
    if present.status == Status::Fail {
        return vec![present];
    }
    vec![present, driver(files, bdf), file(files, bdf), group(files, bdf), unused(files, bdf)]
}

fn present(files: &Sysfs, bdf: Bdf) -> Finding {
    let question = ask("device.present", format!("{bdf} exists"));
    if !files.exists(bdf) {
        return question.fail("not in /sys/bus/pci/devices", "lspci -D lists the devices");
    }
    match files.vendor_and_device(bdf) {
        Some((vendor, device)) => question.pass(format!("{vendor:04x}:{device:04x}")),
        None => question.pass("vendor and device ids cannot be read"),
    }
}

/// Accepts any driver that provides a VFIO device file: vfio-pci or a variant driver.
fn driver(files: &Sysfs, bdf: Bdf) -> Finding {
    let question = ask("device.driver", format!("{bdf} is bound to a VFIO driver"));
    let driver = files.driver(bdf);
    match (driver.as_deref(), files.cdev_name(bdf)) {
        (Some(driver), Some(name)) => question.pass(format!("{driver}, {name}")),
        (Some("vfio-pci"), None) => question.fail(
            "vfio-pci, without a device file",
            "build a kernel with CONFIG_VFIO_DEVICE_CDEV=y",
        ),
        (other, _) => {
            question.fail(format!("driver: {}", other.unwrap_or("none")), rebind(bdf, other))
        }
    }
}

/// The commands that bind a device to vfio-pci.
fn rebind(bdf: Bdf, driver: Option<&str>) -> String {
    let device = format!("/sys/bus/pci/devices/{bdf}");
    let unbind = driver.map(|_| format!("echo {bdf} > {device}/driver/unbind; "));
    format!(
        "echo vfio-pci > {device}/driver_override; {}echo {bdf} > /sys/bus/pci/drivers_probe",
        unbind.unwrap_or_default()
    )
}

fn file(files: &Sysfs, bdf: Bdf) -> Finding {
    let question = ask("device.file", format!("the device file of {bdf} can be opened"));
    let Some(name) = files.cdev_name(bdf) else { return question.skip("it has no device file") };
    let path = files.path("dev/vfio/devices").join(&name);
    let shown = format!("/dev/vfio/devices/{name}");
    if !path.exists() {
        return question.fail(
            format!("{shown} does not exist"),
            "pass it into the container: --device=/dev/vfio/devices, or mount devtmpfs",
        );
    }
    let wanted = Access::READ_OK | Access::WRITE_OK;
    match rustix::fs::accessat(CWD, &path, wanted, AtFlags::EACCESS) {
        Ok(()) => question.pass(shown),
        Err(errno) => question
            .fail(format!("{shown}: {errno}"), format!("setfacl -m u:\"$(id -un)\":rw {shown}")),
    }
}

/// Drivers without DMA of their own, which may therefore share a group.
const HARMLESS: [&str; 2] = ["pcieport", "pci-stub"];

fn group(files: &Sysfs, bdf: Bdf) -> Finding {
    let question = ask("device.group", format!("no other driver uses the IOMMU group of {bdf}"));
    let Some(group) = files.iommu_group(bdf) else {
        return question.fail("it is in no IOMMU group", "put the device behind an IOMMU");
    };
    let members = files.group_members(&group);
    let foreign: Vec<(Bdf, String)> = members
        .iter()
        .filter(|member| files.cdev_name(**member).is_none())
        .filter_map(|member| Some((*member, files.driver(*member)?)))
        .filter(|(member, driver)| *member != bdf && !HARMLESS.contains(&driver.as_str()))
        .collect();
    if foreign.is_empty() {
        return question.pass(format!("group {group}, {} device(s)", members.len()));
    }
    let describe = |(member, driver): &(Bdf, String)| format!("{member} is bound to {driver}");
    let described: Vec<String> = foreign.iter().map(describe).collect();
    let commands = foreign.iter().map(|(member, driver)| rebind(*member, Some(driver)));
    question.fail(
        format!("group {group}: {}", described.join(", ")),
        commands.collect::<Vec<_>>().join("; "),
    )
}

/// Best effort: processes whose descriptors are not readable are counted but not checked.
fn unused(files: &Sysfs, bdf: Bdf) -> Finding {
    let question = ask("device.unused", format!("no process has {bdf} open"));
    let Some(name) = files.cdev_name(bdf) else { return question.skip("it has no device file") };
    let (users, hidden) = holders(files, &format!("/dev/vfio/devices/{name}"));
    if users.is_empty() {
        return question
            .pass(format!("not open in any process checked; {hidden} could not be checked"));
    }
    question.warn(
        format!("open in process {}", users.join(", ")),
        "stop that process, unless it is the VMM to be replaced",
    )
}

/// The processes that have `path` open, and the number of processes that could not be checked.
fn holders(files: &Sysfs, path: &str) -> (Vec<String>, usize) {
    let pids = names_in(&files.path("proc")).into_iter().filter(|name| is_pid(name));
    let checked = pids.map(|pid| (has_open(files, &pid, path), pid)).collect::<Vec<_>>();
    let hidden = checked.iter().filter(|(has, _)| has.is_none()).count();
    let users = checked.into_iter().filter(|(has, _)| *has == Some(true)).map(|(_, pid)| pid);
    (users.collect(), hidden)
}

fn is_pid(name: &str) -> bool {
    name.bytes().all(|digit| digit.is_ascii_digit())
}

fn has_open(files: &Sysfs, pid: &str, path: &str) -> Option<bool> {
    let entries = std::fs::read_dir(files.path("proc").join(pid).join("fd")).ok()?;
    let mut links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Some(links.any(|link| link.as_os_str() == path))
}
