//! The choice of the HWPT to which a device is attached.
//!
//! Mirrors: `iommufd_cdev_autodomains_get` of QEMU 10.2, which tries the existing HWPTs of the
//! device's container before it makes another. Here the startup fails if a device cannot be
//! attached to the nesting parent of its address space because it is behind a different kind of
//! IOMMU.

use super::{LaunchError, Start};
use crate::abi::call::IommufdCall;
use crate::abi::ids::{Fd, ObjectId};
use crate::abi::kernel::Kernel;
use serde::{Deserialize, Serialize};

/// The HWPT through which a device is attached to its address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HwptPlan {
    /// The HWPT that the kernel makes for all devices attached to the address space.
    #[default]
    Shared,
    /// An HWPT made for this device alone.
    Own,
    /// A nesting parent, made for the first device of the address space that requires one and
    /// shared by the others. A VMM whose guest has an IOMMU nests the guest's page tables over it.
    NestParent,
}

impl HwptPlan {
    /// Returns the name that scenarios use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::NestParent => "nest-parent",
        }
    }
}

impl<K: Kernel> Start<'_, K> {
    /// Returns the object to attach a device to: its address space, or an HWPT over that.
    pub(super) fn page_table(
        &mut self,
        plan: HwptPlan,
        iommufd: Fd,
        device: ObjectId,
        ioas: ObjectId,
    ) -> Result<ObjectId, LaunchError> {
        match plan {
            HwptPlan::Shared => Ok(ioas),
            HwptPlan::Own => self.object(IommufdCall::hwpt_alloc(iommufd, device, ioas)),
            HwptPlan::NestParent => {
                if let Some(parent) = self.parents.get(&(iommufd, ioas)) {
                    return Ok(*parent);
                }
                let call = IommufdCall::hwpt_alloc_nest_parent(iommufd, device, ioas);
                let parent = self.object(call)?;
                self.parents.insert((iommufd, ioas), parent);
                Ok(parent)
            }
        }
    }
}
