//! The resources of a process, and arguments generated from them.

use crate::lockstep::state::{BASE, Known, State};
use handoff_model::abi::ids::{Fd, IovaRange, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::view::{FileKind, View};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use std::collections::BTreeSet;

/// The resources that a process can name.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) descriptors: Vec<(Fd, FileKind)>,
    /// IOASes, each with a descriptor of its context.
    pub(super) spaces: Vec<(Fd, ObjectId)>,
    /// Other objects, each with a descriptor of their context.
    pub(super) others: Vec<(Fd, ObjectId)>,
    /// Bound devices, each with an IOAS of its context.
    pub(super) attachable: Vec<(Fd, ObjectId)>,
    areas: Vec<(ObjectId, IovaRange)>,
    pub(super) mappings: Vec<(Va, u64)>,
    /// True if there is a bound device, and a mock device.
    pub(super) has_real: bool,
    pub(super) has_mock: bool,
    pub(super) device_paths: Vec<String>,
}

impl Caller {
    pub(super) fn new(state: &State, view: &View, pid: Pid) -> Self {
        let process = &view.processes[&pid];
        let descriptors = process.descriptors.iter().map(|(fd, slot)| (*fd, slot.kind)).collect();
        let mut areas: Vec<(ObjectId, IovaRange)> =
            view.mappings.iter().map(|area| (area.ioas, area.range)).collect();
        areas.truncate(12);
        let files = || process.descriptors.iter().map(|(fd, slot)| (*fd, slot.file));
        let pairs = |which: &dyn Fn(&Known) -> BTreeSet<ObjectId>| {
            let known = files().filter_map(|(fd, file)| Some((fd, state.known.get(&file)?)));
            known.flat_map(|(fd, known)| which(known).into_iter().map(move |id| (fd, id))).collect()
        };
        let attachable = files()
            .filter_map(|(fd, file)| Some((fd, state.known.get(state.bound.get(&file)?)?)))
            .flat_map(|(fd, known)| known.spaces.iter().map(move |id| (fd, *id)))
            .collect();
        let theirs = state.mappings.iter().filter(|(of, ..)| *of == pid);
        Self {
            descriptors,
            spaces: pairs(&|known| known.spaces.clone()),
            others: pairs(&|known| known.others.clone()),
            attachable,
            areas,
            mappings: theirs.map(|(_, va, length)| (*va, *length)).collect(),
            has_real: !state.bound.is_empty(),
            has_mock: state.has_mock,
            device_paths: (0..2).map(|at| format!("/dev/vfio/devices/vfio{at}")).collect(),
        }
    }

    /// Returns the weight of the process; one with descriptors makes more calls.
    pub(super) fn weight(&self) -> u32 {
        if self.descriptors.is_empty() { 1 } else { 3 }
    }

    /// Generates a descriptor, usually of this kind.
    pub(super) fn fd(&self, kind: FileKind) -> BoxedStrategy<Fd> {
        let any = one_of![1 => Just(Fd(-1)), 12 => (3..12i32).prop_map(Fd)];
        let held: Vec<Fd> = self.descriptors.iter().map(|(fd, _)| *fd).collect();
        let fitting: Vec<Fd> =
            self.descriptors.iter().filter(|(_, of)| *of == kind).map(|(fd, _)| *fd).collect();
        match (fitting.is_empty(), held.is_empty()) {
            (false, _) => one_of![40 => select(fitting), 1 => select(held), 1 => any].boxed(),
            (true, false) => one_of![4 => select(held), 1 => any].boxed(),
            (true, true) => any.boxed(),
        }
    }

    pub(super) fn iommufd(&self) -> BoxedStrategy<Fd> {
        self.fd(FileKind::Iommufd)
    }

    /// Generates a context's descriptor and an object, usually from this list.
    pub(super) fn object(&self, of: &[(Fd, ObjectId)]) -> BoxedStrategy<(Fd, ObjectId)> {
        let any = (self.iommufd(), (0..9u32).prop_map(ObjectId));
        if of.is_empty() {
            return any.boxed();
        }
        one_of![20 => select(of.to_vec()), 1 => any].boxed()
    }

    pub(super) fn space(&self) -> BoxedStrategy<(Fd, ObjectId)> {
        self.object(&self.spaces)
    }

    pub(super) fn other(&self) -> BoxedStrategy<(Fd, ObjectId)> {
        self.object(&self.others)
    }

    /// Generates an object id, usually from this list.
    pub(super) fn number(of: &[(Fd, ObjectId)]) -> BoxedStrategy<ObjectId> {
        let any = (0..9u32).prop_map(ObjectId);
        if of.is_empty() {
            return any.boxed();
        }
        let ids: Vec<ObjectId> = of.iter().map(|(_, id)| *id).collect();
        one_of![20 => select(ids), 1 => any].boxed()
    }

    /// Generates an IOVA: at an area, next to one, on a small grid, or at an edge of [`EDGES`].
    pub(super) fn iova(&self) -> BoxedStrategy<u64> {
        let grid = (0..12u64).prop_map(|page| BASE + page * PAGE_BYTES);
        let off = select(vec![1, 0x800, 0x801]);
        let unaligned = (grid.clone(), off).prop_map(|(page, off)| page + off);
        let edges = select(EDGES);
        if self.areas.is_empty() {
            return one_of![20 => grid, 2 => unaligned, 1 => edges].boxed();
        }
        let ends: Vec<u64> = (self.areas.iter())
            .flat_map(|(_, area)| {
                let (first, last) = (area.first.0, area.last.0);
                [
                    first,
                    first,
                    last.wrapping_add(1),
                    first.wrapping_sub(PAGE_BYTES),
                    first.wrapping_add(PAGE_BYTES),
                ]
            })
            .collect();
        one_of![12 => select(ends), 10 => grid, 2 => unaligned, 1 => edges].boxed()
    }

    /// Generates a length: some pages, that of an area, or an unusual one.
    pub(super) fn length(&self) -> BoxedStrategy<u64> {
        let pages = (1..6u64).prop_map(|pages| pages * PAGE_BYTES);
        let odd = select(vec![0, 1, 0x800, 0x1001, 1 << 31, 1 << 63, u64::MAX - 1, u64::MAX]);
        if self.areas.is_empty() {
            return one_of![16 => pages, 1 => odd].boxed();
        }
        let lengths: Vec<u64> = (self.areas.iter().map(|(_, area)| area.length_bytes())).collect();
        one_of![10 => pages, 8 => select(lengths), 1 => odd].boxed()
    }

    /// Generates an address of the process's memory, or an unmapped one.
    pub(super) fn va(&self) -> BoxedStrategy<u64> {
        let nowhere = select(vec![0, 0x1000, 0x7e00_0000_0000, u64::MAX - 0xfff]);
        if self.mappings.is_empty() {
            return nowhere.boxed();
        }
        let offset = one_of![8 => (0..4u64).prop_map(|page| page * PAGE_BYTES), 1 => Just(0x800)];
        let within =
            (select(self.mappings.clone()), offset).prop_map(|((va, _), offset)| va.0 + offset);
        one_of![16 => within, 1 => nowhere].boxed()
    }

    /// Generates an offset in a file.
    pub(super) fn offset() -> BoxedStrategy<u64> {
        let pages = (0..4u64).prop_map(|page| page * PAGE_BYTES);
        one_of![16 => pages, 1 => select(vec![1, 0x800, 1 << 40, u64::MAX - 0xfff])].boxed()
    }

    /// Generates an IOAS and a range, usually an area, or an area without its first or last page.
    pub(super) fn place(&self) -> BoxedStrategy<(Fd, ObjectId, u64, u64)> {
        let any = (self.space(), self.iova(), self.length())
            .prop_map(|((fd, ioas), iova, length_bytes)| (fd, ioas, iova, length_bytes));
        if self.areas.is_empty() {
            return any.boxed();
        }
        let cut =
            one_of![6 => Just((0, 0)), 1 => Just((PAGE_BYTES, 0)), 1 => Just((0, PAGE_BYTES))];
        let area = (self.iommufd(), select(self.areas.clone()), cut).prop_map(
            |(fd, (ioas, area), (before, after))| {
                let length_bytes = area.length_bytes().saturating_sub(before + after);
                (fd, ioas, area.first.0.wrapping_add(before), length_bytes)
            },
        );
        one_of![1 => any, 2 => area].boxed()
    }
}

/// Addresses at the limits of address spaces, apertures, and interrupt windows.
const EDGES: &[u64] = &[
    0,
    0x1000,
    0x0100_0000,
    0x7fff_f000,
    0x8000_0000,
    0xfedf_f000,
    0xfee0_0000,
    0xfef0_0000,
    0x7f_ffff_f000,
    0x80_0000_0000,
    u64::MAX - 0xfff,
    u64::MAX,
];
