//! Tests of `doctor` on made-up machines, and on the one that runs this test.

use flate2::Compression;
use flate2::write::GzEncoder;
use handoff_real_backend::doctor::{Finding, Limits, Machine, Request, Status, examine};
use handoff_real_backend::sysfs::{Bdf, Sysfs};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const DEVICE: &str = "0000:00:05.0";
const NEIGHBOUR: &str = "0000:00:05.1";
const RAM_BYTES: u64 = 1 << 30;

/// A directory that serves as a host.
struct Tree(PathBuf);

impl Tree {
    fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("handoff-doctor-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&root).expect("a place for files");
        Self(root)
    }

    /// A healthy host, except for `/dev/iommu`, which is a plain file here.
    fn healthy() -> Self {
        let tree = Self::empty();
        tree.file("proc/sys/kernel/osrelease", "6.13.0-test\n");
        tree.file(
            "boot/config-6.13.0-test",
            "CONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_VFIO_PCI=m\n\
             CONFIG_MEMFD_CREATE=y\n",
        );
        tree.file("dev/iommu", "");
        tree.directory("sys/class/iommu/dmar0");
        tree.directory("sys/bus/pci/drivers/vfio-pci");
        tree.directory("sys/bus/pci/drivers/e1000e");
        tree.device(DEVICE, "7");
        tree.bind(DEVICE, "vfio-pci");
        tree.cdev(DEVICE, "vfio0");
        tree
    }

    fn directory(&self, path: &str) {
        std::fs::create_dir_all(self.0.join(path)).expect(path);
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        std::fs::write(path, text).expect("writable");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        symlink(target, path).expect("writable");
    }

    fn remove(&self, path: &str) {
        let path = self.0.join(path);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.expect("it was there");
    }

    fn device(&self, bdf: &str, group: &str) {
        self.file(&format!("sys/bus/pci/devices/{bdf}/vendor"), "0x1234\n");
        self.file(&format!("sys/bus/pci/devices/{bdf}/device"), "0x11e8\n");
        let group_path = format!("../../../../kernel/iommu_groups/{group}");
        self.link(&format!("sys/bus/pci/devices/{bdf}/iommu_group"), &group_path);
        self.directory(&format!("sys/kernel/iommu_groups/{group}/devices/{bdf}"));
    }

    fn bind(&self, bdf: &str, driver: &str) {
        let target = format!("../../../../bus/pci/drivers/{driver}");
        self.link(&format!("sys/bus/pci/devices/{bdf}/driver"), &target);
    }

    fn cdev(&self, bdf: &str, name: &str) {
        self.directory(&format!("sys/bus/pci/devices/{bdf}/vfio-dev/{name}"));
        self.file(&format!("dev/vfio/devices/{name}"), "");
    }

    fn examine(&self, limits: Limits) -> Vec<Finding> {
        let machine = Machine { files: Sysfs::at(&self.0), limits };
        let devices = vec![DEVICE.parse().expect("an address")];
        examine(&machine, &Request { devices, ram_bytes: RAM_BYTES })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LIMITS: Limits = Limits { memlock_bytes: 2 * RAM_BYTES, open_files: 1024, ipc_lock: false };

fn finding<'a>(findings: &'a [Finding], id: &str) -> Option<&'a Finding> {
    findings.iter().find(|finding| finding.id == id)
}

/// After `change`, the finding `id` has this status and its evidence contains `evidence`; no other
/// check fails that passes on a healthy host.
#[track_caller]
fn check(change: impl FnOnce(&Tree), id: &str, status: Status, evidence: &str) {
    let tree = Tree::healthy();
    change(&tree);
    let findings = tree.examine(LIMITS);
    let found = finding(&findings, id).expect(id);
    assert_eq!(found.status, status, "{found:?}");
    assert!(found.evidence.contains(evidence), "{found:?}");
    assert_eq!(found.remedy.is_some(), matches!(status, Status::Fail | Status::Warn), "{found:?}");
    let others = findings.iter().filter(|one| one.id != id && one.id != "iommufd.change_process");
    let failed: Vec<_> = others.filter(|one| one.status == Status::Fail).collect();
    assert_eq!(failed, Vec::<&Finding>::new());
}

#[test]
fn a_healthy_host_passes_except_for_the_ioctl_on_a_plain_file() {
    let findings = Tree::healthy().examine(LIMITS);
    let unhealthy: Vec<_> = findings.iter().filter(|one| one.status != Status::Pass).collect();
    assert_eq!(unhealthy.iter().map(|one| one.id).collect::<Vec<_>>(), ["iommufd.change_process"]);
    assert_eq!(unhealthy[0].status, Status::Fail, "ENOTTY, as on an old kernel");
    assert_eq!(findings.len(), 15);
}

#[test]
fn kernels() {
    let release = |text: &'static str| {
        move |tree: &Tree| {
            tree.file("proc/sys/kernel/osrelease", text);
            tree.file(&format!("boot/config-{}", text.trim()), CONFIG);
        }
    };
    check(release("6.12.107\n"), "kernel.version", Status::Fail, "6.12.107");
    check(release("5.20.0"), "kernel.version", Status::Fail, "5.20.0");
    check(release("6.13-rc1"), "kernel.version", Status::Pass, "6.13-rc1");
    check(release("7.3.4"), "kernel.version", Status::Pass, "7.3.4");
    check(release("plan9"), "kernel.version", Status::Skip, "plan9");
    check(|tree| tree.remove("sys/class/iommu/dmar0"), "iommu.present", Status::Fail, "empty");
    check(
        |tree| tree.remove("sys/bus/pci/drivers/vfio-pci"),
        "vfio.pci",
        Status::Fail,
        "does not exist",
    );
}

const CONFIG: &str =
    "CONFIG_IOMMUFD=y\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_VFIO_PCI=y\nCONFIG_MEMFD_CREATE=y\n";

#[test]
fn configurations() {
    let packed = |text: String| {
        move |tree: &Tree| {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(text.as_bytes()).expect("memory");
            tree.file("proc/config.gz", packer.finish().expect("memory"));
        }
    };
    let id = "kernel.options";
    let boot = "boot/config-6.13.0-test";
    check(packed(CONFIG.to_owned()), id, Status::Pass, "/proc/config.gz");
    check(
        packed(CONFIG.replace("CONFIG_VFIO_PCI=y", "# CONFIG_VFIO_PCI is not set")),
        id,
        Status::Fail,
        "CONFIG_VFIO_PCI not set in /proc/config.gz",
    );
    check(|tree| tree.file("proc/config.gz", "not packed"), id, Status::Pass, boot);
    check(
        |tree| tree.file(boot, "CONFIG_IOMMUFD_TEST=y\n"),
        id,
        Status::Fail,
        "CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV, CONFIG_VFIO_PCI, CONFIG_MEMFD_CREATE not set",
    );
    check(|tree| tree.remove(boot), id, Status::Skip, "neither");
}

#[test]
fn without_iommufd_its_ioctl_is_skipped_and_does_not_fail() {
    let tree = Tree::healthy();
    tree.remove("dev/iommu");
    let findings = tree.examine(LIMITS);
    let status = |id| finding(&findings, id).expect(id).status;
    assert_eq!(status("iommufd.node"), Status::Fail);
    assert_eq!(status("iommufd.change_process"), Status::Skip);
}

#[test]
fn drivers() {
    let id = "device.driver";
    let driver = format!("sys/bus/pci/devices/{DEVICE}/driver");
    let vfio_dev = format!("sys/bus/pci/devices/{DEVICE}/vfio-dev");
    let rebound = |driver_name: &'static str| {
        let (driver, vfio_dev) = (driver.clone(), vfio_dev.clone());
        move |tree: &Tree| {
            tree.remove(&vfio_dev);
            std::fs::remove_file(tree.0.join(&driver)).expect("bound");
            if !driver_name.is_empty() {
                tree.bind(DEVICE, driver_name);
            }
        }
    };
    check(rebound("e1000e"), id, Status::Fail, "driver: e1000e");
    check(rebound(""), id, Status::Fail, "driver: none");
    check(rebound("vfio-pci"), id, Status::Fail, "without a device file");
    check(|_| (), id, Status::Pass, "vfio-pci, vfio0");
    check(
        |tree| {
            std::fs::remove_file(tree.0.join(&driver)).expect("bound");
            tree.bind(DEVICE, "mlx5_vfio_pci");
        },
        id,
        Status::Pass,
        "mlx5_vfio_pci",
    );
}

#[test]
fn files_groups_and_users() {
    let group = format!("sys/bus/pci/devices/{DEVICE}/iommu_group");
    check(|tree| tree.remove("dev/vfio/devices/vfio0"), "device.file", Status::Fail, "vfio0");
    check(
        |tree| std::fs::remove_file(tree.0.join(&group)).expect("grouped"),
        "device.group",
        Status::Fail,
        "no IOMMU group",
    );
    let neighbour = |driver: &'static str| {
        move |tree: &Tree| {
            tree.device(NEIGHBOUR, "7");
            tree.bind(NEIGHBOUR, driver);
        }
    };
    let foreign = "0000:00:05.1 is bound to e1000e";
    check(neighbour("e1000e"), "device.group", Status::Fail, foreign);
    check(neighbour("pcieport"), "device.group", Status::Pass, "2 device(s)");
    check(|tree| tree.device(NEIGHBOUR, "7"), "device.group", Status::Pass, "2 device(s)");
    check(
        |tree| tree.link("proc/4711/fd/12", "/dev/vfio/devices/vfio0"),
        "device.unused",
        Status::Warn,
        "4711",
    );
    check(
        |tree| tree.link("proc/4711/fd/12", "/dev/vfio/devices/vfio01"),
        "device.unused",
        Status::Pass,
        "0 could not",
    );
    check(|tree| tree.directory("proc/4711"), "device.unused", Status::Pass, "1 could not");
}

#[test]
fn a_missing_device_has_one_finding() {
    let tree = Tree::healthy();
    tree.remove(&format!("sys/bus/pci/devices/{DEVICE}"));
    let findings = tree.examine(LIMITS);
    let of_device = findings.iter().filter(|one| one.id.starts_with("device."));
    let ids: Vec<_> = of_device.map(|one| (one.id, one.status)).collect();
    assert_eq!(ids, [("device.present", Status::Fail)]);
}

#[test]
fn remedies_are_commands_for_the_device() {
    let tree = Tree::healthy();
    tree.remove(&format!("sys/bus/pci/devices/{DEVICE}/vfio-dev"));
    std::fs::remove_file(tree.0.join(format!("sys/bus/pci/devices/{DEVICE}/driver")))
        .expect("bound");
    tree.bind(DEVICE, "e1000e");
    let findings = tree.examine(LIMITS);
    let remedy = finding(&findings, "device.driver").and_then(|one| one.remedy.as_deref());
    let device = "/sys/bus/pci/devices/0000:00:05.0";
    assert_eq!(
        remedy,
        Some(&*format!(
            "echo vfio-pci > {device}/driver_override; echo {DEVICE} > {device}/driver/unbind; \
             echo {DEVICE} > /sys/bus/pci/drivers_probe"
        ))
    );
}

#[test]
fn limits() {
    let held = Limits { ipc_lock: true, ..LIMITS };
    let memlock = |memlock_bytes| Limits { memlock_bytes, ..LIMITS };
    let rows = [
        (LIMITS, "limits.memlock", Status::Pass, "2147483648"),
        (memlock(2 * RAM_BYTES - 1), "limits.memlock", Status::Fail, "2147483648 required"),
        (memlock(u64::MAX), "limits.memlock", Status::Pass, "unlimited"),
        (Limits { memlock_bytes: 0, ..held }, "limits.memlock", Status::Warn, "CAP_IPC_LOCK"),
        (held, "limits.ipc_lock", Status::Warn, "refused a handoff"),
        (LIMITS, "limits.ipc_lock", Status::Pass, "charged"),
        (Limits { open_files: 1023, ..LIMITS }, "limits.open_files", Status::Warn, "1023"),
        (LIMITS, "memfd.seals", Status::Pass, "sealed"),
    ];
    let tree = Tree::healthy();
    for (limits, id, status, evidence) in rows {
        let findings = tree.examine(limits);
        let found = finding(&findings, id).expect(id);
        assert_eq!(found.status, status, "{limits:?}: {found:?}");
        assert!(found.evidence.contains(evidence), "{limits:?}: {found:?}");
    }
    let unknown = examine(
        &Machine { files: Sysfs::at(&tree.0), limits: LIMITS },
        &Request { devices: vec![], ram_bytes: 0 },
    );
    assert_eq!(finding(&unknown, "limits.memlock").expect("checked").status, Status::Skip);
}

#[test]
fn examining_an_empty_directory_or_this_host_does_not_panic() {
    let empty = Tree::empty().examine(LIMITS);
    assert_eq!(finding(&empty, "device.present").expect("checked").status, Status::Fail);
    let devices = vec![DEVICE.parse::<Bdf>().expect("an address")];
    let here = examine(&Machine::here(), &Request { devices, ram_bytes: RAM_BYTES });
    assert_eq!(finding(&here, "memfd.seals").expect("checked").status, Status::Pass);
    assert_ne!(finding(&here, "kernel.version").expect("checked").status, Status::Skip);
}
