//! PCI devices as sysfs shows them: driver, VFIO device file, IOMMU group.
//!
//! Reads only. All paths are below a root, so that a test can use a directory as a host.
//!
//! Mirrors: `Documentation/ABI/testing/sysfs-bus-pci`, `sysfs-bus-vfio-dev` (`vfio-dev/vfioN`),
//! `sysfs-kernel-iommu_groups` of Linux 7.3.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address of a PCI function: domain, bus, device, function (`0000:00:05.0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdf {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// A text that is not a valid [`Bdf`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a PCI address such as 0000:00:05.0")]
pub struct BadBdf(String);

impl FromStr for Bdf {
    type Err = BadBdf;

    fn from_str(text: &str) -> Result<Self, BadBdf> {
        parse_bdf(text).ok_or_else(|| BadBdf(text.to_owned()))
    }
}

/// Parses `0000:00:05.0`, or `00:05.0` for domain 0.
fn parse_bdf(text: &str) -> Option<Bdf> {
    let (place, function) = text.split_once('.')?;
    let (bus_of_domain, device) = place.rsplit_once(':')?;
    let (domain, bus) = bus_of_domain.split_once(':').unwrap_or(("0000", bus_of_domain));
    Some(Bdf {
        domain: hex(domain, 4..=8, 0xffff_ffff)?,
        bus: hex(bus, 2..=2, 0xff)?.try_into().ok()?,
        device: hex(device, 2..=2, 0x1f)?.try_into().ok()?,
        function: hex(function, 1..=1, 7)?.try_into().ok()?,
    })
}

fn hex(digits: &str, lengths: std::ops::RangeInclusive<usize>, last: u32) -> Option<u32> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let fits = plain && lengths.contains(&digits.len());
    u32::from_str_radix(digits, 16).ok().filter(|value| fits && *value <= last)
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl From<Bdf> for String {
    fn from(bdf: Bdf) -> Self {
        bdf.to_string()
    }
}

impl TryFrom<String> for Bdf {
    type Error = BadBdf;

    fn try_from(text: String) -> Result<Self, BadBdf> {
        text.parse()
    }
}

/// The file tree of a host, usually `/`.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Sysfs {
    /// The host whose root directory is `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns a path below the root; `relative` has no leading slash.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// True if the device exists.
    pub fn exists(&self, bdf: Bdf) -> bool {
        self.device(bdf, "").exists()
    }

    /// The vendor and device IDs, as in config space.
    pub fn vendor_and_device(&self, bdf: Bdf) -> Option<(u16, u16)> {
        let id = |name| u16::from_str_radix(self.text(bdf, name)?.strip_prefix("0x")?, 16).ok();
        Some((id("vendor")?, id("device")?))
    }

    /// The name of the driver it is bound to.
    pub fn driver(&self, bdf: Bdf) -> Option<String> {
        last_of_link(&self.device(bdf, "driver"))
    }

    /// The name of its VFIO device file (`vfio0`), if it is bound to a VFIO driver.
    pub fn cdev_name(&self, bdf: Bdf) -> Option<String> {
        let names = names_in(&self.device(bdf, "vfio-dev"));
        names.into_iter().find(|name| name.starts_with("vfio"))
    }

    /// The path of its VFIO device file (`/dev/vfio/devices/vfio0`), even if the node does not
    /// exist.
    pub fn cdev(&self, bdf: Bdf) -> Option<PathBuf> {
        self.cdev_name(bdf).map(|name| self.path("dev/vfio/devices").join(name))
    }

    /// Its IOMMU group; `None` if it is not behind an IOMMU.
    pub fn iommu_group(&self, bdf: Bdf) -> Option<String> {
        last_of_link(&self.device(bdf, "iommu_group"))
    }

    /// All devices of an IOMMU group, sorted.
    pub fn group_members(&self, group: &str) -> Vec<Bdf> {
        let names = names_in(&self.path("sys/kernel/iommu_groups").join(group).join("devices"));
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// All PCI devices, sorted.
    pub fn pci_devices(&self) -> Vec<Bdf> {
        let names = names_in(&self.path("sys/bus/pci/devices"));
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The VFIO device files of the mediated devices below a parent (`mtty`), sorted.
    pub fn mdev_cdevs(&self, parent: &str) -> Vec<PathBuf> {
        let parent = self.path("sys/class/mdev_bus").join(parent);
        let below = names_in(&parent).into_iter().map(|name| parent.join(name).join("vfio-dev"));
        let names = below.flat_map(|folder| names_in(&folder));
        names.map(|name| self.path("dev/vfio/devices").join(name)).collect()
    }

    /// The PCI command register, read from the hardware and not from a VFIO driver's shadow.
    pub fn command(&self, bdf: Bdf) -> Option<u16> {
        let config = std::fs::read(self.device(bdf, "config")).ok()?;
        Some(u16::from_le_bytes([*config.get(4)?, *config.get(5)?]))
    }

    /// The PCI device behind a character device such as a VFIO device file.
    pub fn owner_of(&self, major: u32, minor: u32) -> Option<Bdf> {
        let link = self.path(format!("sys/dev/char/{major}:{minor}"));
        let target = std::fs::read_link(link).ok()?;
        target.iter().rev().find_map(|part| part.to_str()?.parse().ok())
    }

    fn device(&self, bdf: Bdf, attribute: &str) -> PathBuf {
        self.path("sys/bus/pci/devices").join(bdf.to_string()).join(attribute)
    }

    fn text(&self, bdf: Bdf, attribute: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.device(bdf, attribute)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// The names in a directory, sorted; empty if it cannot be read.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn last_of_link(link: &Path) -> Option<String> {
    Some(std::fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Bdf;

    #[test]
    fn addresses_round_trip_or_are_refused() {
        let good = [
            ("0000:00:05.0", "0000:00:05.0"),
            ("00:1f.7", "0000:00:1f.7"),
            ("10000:e1:00.0", "10000:e1:00.0"),
            ("ABCD:EF:0a.1", "abcd:ef:0a.1"),
        ];
        for (text, expected) in good {
            assert_eq!(text.parse::<Bdf>().expect(text).to_string(), expected);
        }
        let bad = [
            "",
            "0000:00:05",
            "0000:00:20.0",
            "0000:00:05.8",
            "000:00:05.0",
            "0000:0:05.0",
            "0000:00:05.0 ",
            "+000:00:05.0",
            "0:0000:00:05.0",
            "vfio0",
        ];
        for text in bad {
            assert!(text.parse::<Bdf>().is_err(), "{text:?}");
        }
    }
}
