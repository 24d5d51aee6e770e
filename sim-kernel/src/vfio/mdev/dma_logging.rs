//! DMA logging of an emulated device: requests are validated, but there is no DMA to log.
//!
//! Mirrors `vfio_ioctl_device_feature_logging_start` and `_report` of `drivers/vfio/vfio_main.c`,
//! and `samples/vfio-mdev/mtty.c`, whose log is always empty.

use crate::syscall::{Fields, SyscallResult, fail};
use crate::vfio::feature::{DATA, Feature, GET, SET};
use handoff_model::abi::errno::Errno;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// Starts logging (`vfio_ioctl_device_feature_logging_start`).
///
/// # Errors
/// `EINVAL` without a range; `E2BIG`; then, range by range, `EFAULT`, `EINVAL` (alignment),
/// `EOVERFLOW`, `EINVAL` (overlap).
pub(super) fn start(feature: &mut Feature<'_>) -> SyscallResult<()> {
    use vfio::{
        vfio_device_feature_dma_logging_control as control,
        vfio_device_feature_dma_logging_range as range,
    };
    const MOST: usize = 4096 / size_of::<range>();
    if !feature.check(SET, size_of::<control>())? {
        return Ok(());
    }
    let asked = feature.data(size_of::<control>())?;
    let page = asked.u64(offset_of!(control, page_size));
    let count = asked.u32(offset_of!(control, num_ranges)) as usize;
    match count {
        0 => return Err(fail(Errno::EINVAL)),
        _ if count > MOST => return Err(fail(Errno::E2BIG)),
        _ => {}
    }
    let ranges = DATA + offset_of!(control, ranges);
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for at in 0..count {
        let offset = at * size_of::<range>();
        let bytes = feature.user.read_through(ranges, offset, size_of::<range>())?;
        let one = Fields(bytes.to_vec());
        let (iova, length) = (one.u64(0), one.u64(offset_of!(range, length)));
        let mask = page.wrapping_sub(1);
        if (iova | length) & mask != 0 {
            return Err(fail(Errno::EINVAL));
        }
        iova.checked_add(length).ok_or(fail(Errno::EOVERFLOW))?;
        let last = iova.wrapping_add(length).wrapping_sub(1);
        if seen.iter().any(|(first, end)| *first <= last && iova <= *end) {
            return Err(fail(Errno::EINVAL));
        }
        seen.push((iova, last));
    }
    feature.tell(&asked.0)
}

/// Reports the log (`vfio_ioctl_device_feature_logging_report`).
///
/// # Errors
/// `EFAULT`; `EINVAL` (page size); `EOVERFLOW`.
pub(super) fn report(feature: &Feature<'_>) -> SyscallResult<()> {
    use vfio::vfio_device_feature_dma_logging_report as report;
    if !feature.check(GET, size_of::<report>())? {
        return Ok(());
    }
    let asked = feature.data(size_of::<report>())?;
    let page = asked.u64(offset_of!(report, page_size));
    if page < 4096 || !page.is_power_of_two() {
        return Err(fail(Errno::EINVAL));
    }
    let (iova, length) =
        (asked.u64(offset_of!(report, iova)), asked.u64(offset_of!(report, length)));
    iova.checked_add(length).ok_or(fail(Errno::EOVERFLOW))?;
    Ok(())
}
