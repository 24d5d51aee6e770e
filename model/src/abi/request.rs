//! The request numbers of the ioctls, by their names in the kernel's headers.
//!
//! Containers and devices share some numbers: the meaning of a request depends on the file.
//!
//! Mirrors `include/uapi/linux/iommufd.h`, `vfio.h` and `kvm.h` of Linux 7.3, and for
//! `IOMMU_TEST_CMD` `drivers/iommu/iommufd/iommufd_test.h`.

use iommufd_bindings as io;
use vfio_bindings::bindings::vfio;

/// Returns the `_IO(';', nr)` of a command of iommufd.
const fn iommufd(command: u32) -> u32 {
    0x3b00 | command
}

/// Returns the `_IO(';', VFIO_BASE + nr)` of a command of VFIO.
const fn vfio_base(command: u32) -> u32 {
    0x3b00 | (vfio::VFIO_BASE + command)
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        $(
            #[allow(missing_docs, reason = "the names are those of the kernel's headers")]
            $(#[$doc])*
            pub const $name: u32 = $value;
        )*

        /// Every request with its name; a number with several names occurs once for each.
        pub const ALL: &[(u32, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

/// Returns the name of a request, the first if it has several.
pub fn name(request: u32) -> Option<&'static str> {
    ALL.iter().find(|(number, _)| *number == request).map(|(_, name)| *name)
}

requests! {
    IOMMU_DESTROY = iommufd(io::IOMMUFD_CMD_DESTROY);
    IOMMU_IOAS_ALLOC = iommufd(io::IOMMUFD_CMD_IOAS_ALLOC);
    IOMMU_IOAS_ALLOW_IOVAS = iommufd(io::IOMMUFD_CMD_IOAS_ALLOW_IOVAS);
    IOMMU_IOAS_COPY = iommufd(io::IOMMUFD_CMD_IOAS_COPY);
    IOMMU_IOAS_IOVA_RANGES = iommufd(io::IOMMUFD_CMD_IOAS_IOVA_RANGES);
    IOMMU_IOAS_MAP = iommufd(io::IOMMUFD_CMD_IOAS_MAP);
    IOMMU_IOAS_UNMAP = iommufd(io::IOMMUFD_CMD_IOAS_UNMAP);
    IOMMU_OPTION = iommufd(io::IOMMUFD_CMD_OPTION);
    IOMMU_VFIO_IOAS = iommufd(io::IOMMUFD_CMD_VFIO_IOAS);
    IOMMU_HWPT_ALLOC = iommufd(io::IOMMUFD_CMD_HWPT_ALLOC);
    IOMMU_GET_HW_INFO = iommufd(io::IOMMUFD_CMD_GET_HW_INFO);
    IOMMU_HWPT_SET_DIRTY_TRACKING = iommufd(io::IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING);
    IOMMU_HWPT_GET_DIRTY_BITMAP = iommufd(io::IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP);
    IOMMU_HWPT_INVALIDATE = iommufd(io::IOMMUFD_CMD_HWPT_INVALIDATE);
    IOMMU_FAULT_QUEUE_ALLOC = iommufd(io::IOMMUFD_CMD_FAULT_QUEUE_ALLOC);
    IOMMU_IOAS_MAP_FILE = iommufd(io::IOMMUFD_CMD_IOAS_MAP_FILE);
    IOMMU_VIOMMU_ALLOC = iommufd(io::IOMMUFD_CMD_VIOMMU_ALLOC);
    IOMMU_VDEVICE_ALLOC = iommufd(io::IOMMUFD_CMD_VDEVICE_ALLOC);
    IOMMU_IOAS_CHANGE_PROCESS = iommufd(io::IOMMUFD_CMD_IOAS_CHANGE_PROCESS);
    IOMMU_VEVENTQ_ALLOC = iommufd(io::IOMMUFD_CMD_VEVENTQ_ALLOC);
    IOMMU_HW_QUEUE_ALLOC = iommufd(io::IOMMUFD_CMD_HW_QUEUE_ALLOC);
    /// Added in Linux 7.3.
    IOMMU_NOIOMMU_GET_PA = iommufd(io::IOMMUFD_CMD_HW_QUEUE_ALLOC + 1);
    /// Only in kernels with CONFIG_IOMMUFD_TEST.
    IOMMU_TEST_CMD = iommufd(io::IOMMUFD_CMD_BASE + 32);

    VFIO_GET_API_VERSION = vfio_base(0);
    VFIO_CHECK_EXTENSION = vfio_base(1);
    VFIO_SET_IOMMU = vfio_base(2);
    VFIO_GROUP_GET_STATUS = vfio_base(3);
    VFIO_GROUP_SET_CONTAINER = vfio_base(4);
    VFIO_GROUP_UNSET_CONTAINER = vfio_base(5);
    VFIO_GROUP_GET_DEVICE_FD = vfio_base(6);
    VFIO_DEVICE_GET_INFO = vfio_base(7);
    VFIO_DEVICE_GET_REGION_INFO = vfio_base(8);
    VFIO_DEVICE_GET_IRQ_INFO = vfio_base(9);
    VFIO_DEVICE_SET_IRQS = vfio_base(10);
    VFIO_DEVICE_RESET = vfio_base(11);
    VFIO_IOMMU_GET_INFO = vfio_base(12);
    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = vfio_base(12);
    VFIO_IOMMU_MAP_DMA = vfio_base(13);
    VFIO_DEVICE_PCI_HOT_RESET = vfio_base(13);
    VFIO_IOMMU_UNMAP_DMA = vfio_base(14);
    VFIO_DEVICE_QUERY_GFX_PLANE = vfio_base(14);
    VFIO_IOMMU_ENABLE = vfio_base(15);
    VFIO_DEVICE_GET_GFX_DMABUF = vfio_base(15);
    VFIO_IOMMU_DISABLE = vfio_base(16);
    VFIO_DEVICE_IOEVENTFD = vfio_base(16);
    VFIO_IOMMU_DIRTY_PAGES = vfio_base(17);
    VFIO_DEVICE_FEATURE = vfio_base(17);
    VFIO_DEVICE_BIND_IOMMUFD = vfio_base(18);
    VFIO_DEVICE_ATTACH_IOMMUFD_PT = vfio_base(19);
    VFIO_DEVICE_DETACH_IOMMUFD_PT = vfio_base(20);

    KVM_GET_API_VERSION = 0xae00;
    KVM_CREATE_VM = 0xae01;
    KVM_CHECK_EXTENSION = 0xae03;
    KVM_CREATE_VCPU = 0xae41;
    KVM_CREATE_IRQCHIP = 0xae60;
    KVM_IRQFD = 0x4020_ae76;
    KVM_CREATE_DEVICE = 0xc00c_aee0;
    KVM_SET_DEVICE_ATTR = 0x4018_aee1;
    KVM_HAS_DEVICE_ATTR = 0x4018_aee3;
}

#[cfg(test)]
mod tests {
    use super::{ALL, name};

    #[test]
    fn numbers_are_those_of_the_headers() {
        let rows = [
            (0x3b80, "IOMMU_DESTROY"),
            (0x3b8f, "IOMMU_IOAS_MAP_FILE"),
            (0x3b92, "IOMMU_IOAS_CHANGE_PROCESS"),
            (0x3b95, "IOMMU_NOIOMMU_GET_PA"),
            (0x3ba0, "IOMMU_TEST_CMD"),
            (0x3b64, "VFIO_GET_API_VERSION"),
            (0x3b76, "VFIO_DEVICE_BIND_IOMMUFD"),
        ];
        for (number, expected) in rows {
            assert_eq!(name(number), Some(expected));
        }
        assert!(ALL.len() > 50);
    }
}
