//! Which HWPT a device is attached to.
//!
//! Mirrors: `iommufd_cdev_autodomains_get` of QEMU 10.2, which offers a device the HWPTs of its
//! container before it makes another. Here one that does not take the nesting parent of its address
//! space, because it is behind another kind of IOMMU, fails the start.

use super::{LaunchError, Start};
use crate::abi::call::{Call, IommufdCall};
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
        let nest_parent = plan == HwptPlan::NestParent;
        match (plan, self.parents.get(&(iommufd, ioas))) {
            (HwptPlan::Shared, _) => return Ok(ioas),
            (HwptPlan::NestParent, Some(parent)) => return Ok(*parent),
            _ => {}
        }
        let hwpt = self.object(Call::Iommufd(IommufdCall::HwptAlloc {
            iommufd,
            device,
            ioas,
            nest_parent,
        }))?;
        if nest_parent {
            self.parents.insert((iommufd, ioas), hwpt);
        }
        Ok(hwpt)
    }
}
