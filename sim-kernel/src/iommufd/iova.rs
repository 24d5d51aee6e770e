//! Placement of mappings: free addresses, and the choice among them.
//!
//! An address space can be mapped except where it is reserved: beyond the aperture of a domain, in
//! the interrupt window of an attached device, or where a test reserved it. ALLOW_IOVAS restricts
//! the kernel's choice, not a caller that fixes the address; allowed addresses cannot become
//! reserved.
//!
//! A chosen address is the lowest that fits. It has the page offset of the source's address and as
//! much of its alignment as possible, up to that of a huge page, and is never 0.
//!
//! Mirrors `iopt_alloc_iova`, `iopt_check_iova` and the interval trees of
//! `drivers/iommu/iommufd/io_pagetable.c`.

use crate::iommufd::Context;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};

/// The place that a caller requests for a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IovaRequest {
    /// Exactly at this address.
    Fixed(Iova),
    /// Anywhere; the alignment follows this address of the source.
    Like(u64),
}

/// Maximum alignment that is kept, in bytes: a huge page.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Returns the range of an address and a length. Fails with `EINVAL` if it is empty, and with
/// `EOVERFLOW` if it exceeds the top.
pub(super) fn range(iova: Iova, length_bytes: u64) -> SyscallResult<IovaRange> {
    if length_bytes == 0 {
        return Err(fail(Errno::EINVAL));
    }
    IovaRange::of(iova, length_bytes).ok_or(fail(Errno::EOVERFLOW))
}

/// Returns the ranges sorted, with adjacent and overlapping ones joined.
fn joined(mut ranges: Vec<IovaRange>) -> Vec<IovaRange> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let meets = last.last.0.checked_add(1).is_none_or(|end| next.first.0 <= end);
        if meets {
            last.last = last.last.max(next.last);
        }
        meets
    });
    ranges
}

/// Returns the parts of `within` that no range covers; the ranges are sorted and may overlap.
pub(super) fn holes(used: &[IovaRange], within: IovaRange) -> Vec<IovaRange> {
    let mut holes = Vec::new();
    let mut first = Some(within.first);
    for range in used.iter().filter(|range| range.overlaps(&within)) {
        let last = range.first.0.checked_sub(1).map(Iova);
        let hole = first.zip(last).filter(|(first, last)| first <= last);
        holes.extend(hole.map(|(first, last)| IovaRange { first, last }));
        let behind = range.last.0.checked_add(1).map(Iova);
        first = first.zip(behind).map(|(first, behind)| first.max(behind));
    }
    let rest = first.filter(|first| *first <= within.last);
    holes.extend(rest.map(|first| IovaRange { first, last: within.last }));
    holes
}

/// The requirements of a place.
struct Shape {
    alignment_bytes: u64,
    /// The low bits of the address.
    page_offset: u64,
    length_bytes: u64,
}

impl Shape {
    /// Returns the first place in a span. It cannot begin at the last address of the span.
    fn first_in(&self, span: &IovaRange) -> Option<u64> {
        let raised = span.first.0.checked_add(self.alignment_bytes - 1)?;
        let first = raised & !(self.alignment_bytes - 1) | self.page_offset;
        let fits = first < span.last.0 && span.last.0 - first >= self.length_bytes - 1;
        fits.then_some(first)
    }
}

impl Context {
    /// Returns a place for a mapping that is not empty. Fails with `EINVAL` if length or address is
    /// not aligned to the address space, then as the request requires.
    pub(super) fn place(
        &self,
        ioas: ObjectId,
        iova_request: IovaRequest,
        length_bytes: u64,
    ) -> SyscallResult<IovaRange> {
        if !length_bytes.is_multiple_of(self.alignment_bytes(ioas)) {
            return Err(fail(Errno::EINVAL));
        }
        match iova_request {
            IovaRequest::Fixed(iova) => self.check_iova(ioas, iova, length_bytes),
            IovaRequest::Like(address) => {
                let first = Iova(self.choose_iova(ioas, address, length_bytes)?);
                Ok(IovaRange::of(first, length_bytes).expect("a place within a span"))
            }
        }
    }

    /// Checks a fixed address (`iopt_check_iova`). Fails with `EINVAL` (alignment), `EOVERFLOW`,
    /// `EINVAL` (reserved), `EEXIST`.
    fn check_iova(&self, id: ObjectId, iova: Iova, length_bytes: u64) -> SyscallResult<IovaRange> {
        if !iova.0.is_multiple_of(self.alignment_bytes(id)) {
            return Err(fail(Errno::EINVAL));
        }
        let range = IovaRange::of(iova, length_bytes).ok_or(fail(Errno::EOVERFLOW))?;
        if self.reserved(id).iter().any(|reserved| reserved.overlaps(&range)) {
            return Err(fail(Errno::EINVAL));
        }
        let ioas = self.ioas(id).expect("looked up before");
        if ioas.met(&range).is_empty() { Ok(range) } else { Err(fail(Errno::EEXIST)) }
    }

    /// Chooses an address (`iopt_alloc_iova`). Fails with `EOVERFLOW` (half of all addresses or
    /// more), `EINVAL` (the source is less aligned than the address space requires), `ENOSPC`.
    fn choose_iova(&self, id: ObjectId, address: u64, length_bytes: u64) -> SyscallResult<u64> {
        if length_bytes >= u64::MAX / 2 {
            return Err(fail(Errno::EOVERFLOW));
        }
        let natural = length_bytes.next_power_of_two();
        let own = 1u64.checked_shl(address.trailing_zeros()).unwrap_or(natural);
        let alignment_bytes = natural.min(own).min(HUGE_PAGE_BYTES);
        if alignment_bytes < self.alignment_bytes(id) {
            return Err(fail(Errno::EINVAL));
        }
        let page_offset = address % PAGE_BYTES;
        let shape = Shape { alignment_bytes, page_offset, length_bytes };
        let ioas = self.ioas(id).expect("looked up before");
        let mut used = self.reserved(id);
        used.extend(ioas.areas.iter().map(|area| area.range));
        used.sort_unstable();
        let choice = self.choosable(id).into_iter().find_map(|span| {
            let first = Iova(shape.first_in(&span)?);
            let holes = holes(&used, IovaRange { first, last: span.last });
            holes.iter().find_map(|hole| shape.first_in(hole))
        });
        choice.ok_or(fail(Errno::ENOSPC))
    }

    /// Returns the spans that the kernel chooses from: the allowed ones without the first and the
    /// last page of the address space.
    fn choosable(&self, id: ObjectId) -> Vec<IovaRange> {
        let all = IovaRange { first: Iova(PAGE_BYTES), last: Iova(u64::MAX - PAGE_BYTES) };
        let allowed = &self.ioas(id).expect("looked up before").allowed;
        if allowed.is_empty() {
            return vec![all];
        }
        (joined(allowed.clone()).into_iter().filter(|span| span.overlaps(&all)))
            .map(|span| IovaRange {
                first: span.first.max(all.first),
                last: span.last.min(all.last),
            })
            .collect()
    }

    /// Fails with `EADDRINUSE` if a range may not become reserved (`iopt_reserve_iova`).
    pub(super) fn check_reservable(&self, id: ObjectId, range: &IovaRange) -> SyscallResult<()> {
        let ioas = self.ioas(id).expect("looked up before");
        let is_allowed = ioas.allowed.iter().any(|allowed| allowed.overlaps(range));
        if is_allowed || !ioas.met(range).is_empty() {
            return Err(fail(Errno::EADDRINUSE));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{holes, joined};
    use handoff_model::abi::ids::{Iova, IovaRange};

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange { first: Iova(first), last: Iova(last) }
    }

    #[test]
    fn ranges_that_meet_are_joined() {
        let rows = vec![range(4, 7), range(0, 1), range(2, 2), range(9, 9)];
        assert_eq!(joined(rows), [range(0, 2), range(4, 7), range(9, 9)]);
        assert_eq!(joined(vec![range(0, u64::MAX), range(3, 4)]), [range(0, u64::MAX)]);
    }

    #[test]
    fn holes_are_what_no_range_covers() {
        let used = [range(2, 5), range(3, 4), range(8, 8)];
        assert_eq!(holes(&used, range(0, 9)), [range(0, 1), range(6, 7), range(9, 9)]);
        assert_eq!(holes(&used, range(4, 8)), [range(6, 7)]);
        assert!(holes(&[range(0, u64::MAX)], range(0, u64::MAX)).is_empty());
        assert_eq!(holes(&[], range(7, 7)), [range(7, 7)]);
    }
}
