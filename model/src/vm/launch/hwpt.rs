//! Which HWPT a device is attached to.
//!
//! Mirrors: `iommufd_cdev_autodomains_get` of QEMU 10.2, which offers a device the HWPTs of its
//! container before it makes another. Here one that does not take the nesting parent of its address
//! space, because it is behind another kind of IOMMU, fails the start.

use super::{LaunchError, Start};
use crate::abi::call::IommufdCall;
use crate::abi::ids::{Fd, ObjectId};
use crate::abi::kernel::Kernel;
use serde::{Deserialize, Serialize};

/// Over which HWPT of its address space a device works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HwptPlan {
    /// The one that the kernel makes for all devices that are attached to the address space.
    #[default]
    Shared,
    /// One that is made for it alone.
    Own,
    /// A nesting parent, made for the first device that wants one of the address space; the others
    /// share it. A VMM whose guest has an IOMMU of its own lays the guest's page tables over it.
    NestParent,
}

impl HwptPlan {
    /// What scenarios call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::NestParent => "nest-parent",
        }
    }
}

impl<K: Kernel> Start<'_, K> {
    /// What a device is attached to: its address space, or an HWPT over that.
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
