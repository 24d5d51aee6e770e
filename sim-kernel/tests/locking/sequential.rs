//! The sequential specification: the effect of each operation on a plain state, and the check that
//! concurrent operations are linearizable.
//!
//! An operation may find an area in transition (`Answer::is_transient`). It then has no effect and
//! needs no place in the order. Every other answer must be the one that the sequential order gives.

use std::collections::{BTreeMap, BTreeSet};

/// A process, as an index of `ROOM_PAGES`.
pub(crate) type Pid = usize;
/// The owner of all page sets at the start.
pub(crate) const OLD: Pid = 0;
/// The process that takes over.
pub(crate) const NEW: Pid = 1;
/// A process that can be charged for at most one page.
pub(crate) const POOR: Pid = 2;
/// Maximum charge of each process in pages.
pub(crate) const ROOM_PAGES: [usize; 3] = [usize::MAX, usize::MAX, 1];

/// The name of a page set; every set has one page.
pub(crate) type SetName = char;

/// The place of an area; every area is one page long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) ioas: usize,
    pub(crate) iova: u8,
}

pub(crate) const fn at(ioas: usize, iova: u8) -> Place {
    Place { ioas, iova }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// `IOMMU_IOAS_MAP_FILE` of a new set.
    Map(Pid, SetName, Place),
    Copy(Place, Place),
    Unmap(Place),
    /// Adds a domain to an IOAS.
    Attach(usize),
    ChangeProcess(Pid),
    /// An access of a mediated device: reads the owner of every set that the IOAS maps.
    Access(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Done,
    Owners(Vec<Pid>),
    Ebusy,
    Eexist,
    Enoent,
    Enomem,
}

impl Answer {
    /// Returns true if the answer can mean that an area is in transition.
    pub(crate) fn is_transient(&self, op: Op) -> bool {
        match op {
            Op::ChangeProcess(_) | Op::Unmap(_) => *self == Self::Ebusy,
            Op::Copy(..) | Op::Access(_) => *self == Self::Enoent,
            Op::Map(..) | Op::Attach(_) => false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IoasState {
    pub(crate) domains: usize,
    pub(crate) areas: BTreeMap<u8, SetName>,
}

/// The persistent state. Domain contents and charges follow from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) ioases: Vec<IoasState>,
    /// The owner of every set that an area maps.
    pub(crate) owners: BTreeMap<SetName, Pid>,
}

impl State {
    /// Returns a state from each IOAS's number of domains and areas; the old process owns all sets.
    pub(crate) fn new(ioases: &[(usize, &[(u8, SetName)])]) -> Self {
        let ioases: Vec<IoasState> = ioases
            .iter()
            .map(|(domains, areas)| IoasState {
                domains: *domains,
                areas: areas.iter().copied().collect(),
            })
            .collect();
        let sets = ioases.iter().flat_map(|ioas| ioas.areas.values());
        let owners = sets.map(|set| (*set, OLD)).collect();
        Self { ioases, owners }
    }

    fn is_pinned(&self, set: SetName) -> bool {
        let shows = |ioas: &IoasState| ioas.domains > 0 && ioas.areas.values().any(|s| *s == set);
        self.ioases.iter().any(shows)
    }

    /// Returns the number of pages that a process is charged for.
    pub(crate) fn charge_pages(&self, pid: Pid) -> usize {
        self.owners.iter().filter(|(set, owner)| **owner == pid && self.is_pinned(**set)).count()
    }

    fn install(&mut self, set: SetName, to: Place) -> Answer {
        let areas = &mut self.ioases[to.ioas].areas;
        if areas.contains_key(&to.iova) {
            return Answer::Eexist;
        }
        areas.insert(to.iova, set);
        Answer::Done
    }

    fn unmap(&mut self, from: Place) -> Answer {
        if self.ioases[from.ioas].areas.remove(&from.iova).is_none() {
            return Answer::Enoent;
        }
        let shown: BTreeSet<SetName> =
            self.ioases.iter().flat_map(|ioas| ioas.areas.values().copied()).collect();
        self.owners.retain(|set, _| shown.contains(set));
        Answer::Done
    }

    fn change_process(&mut self, taker: Pid) -> Answer {
        let pinned = |(set, owner): &(&SetName, &Pid)| **owner != taker && self.is_pinned(**set);
        let pages = self.owners.iter().filter(pinned).count();
        if self.charge_pages(taker) + pages > ROOM_PAGES[taker] {
            return Answer::Enomem;
        }
        self.owners.values_mut().for_each(|owner| *owner = taker);
        Answer::Done
    }

    pub(crate) fn apply(&mut self, op: Op) -> Answer {
        match op {
            Op::Map(pid, set, to) => {
                let answer = self.install(set, to);
                if answer == Answer::Done {
                    self.owners.insert(set, pid);
                }
                answer
            }
            Op::Copy(from, to) => match self.ioases[from.ioas].areas.get(&from.iova) {
                Some(set) => self.install(*set, to),
                None => Answer::Enoent,
            },
            Op::Unmap(from) => self.unmap(from),
            Op::Attach(ioas) => {
                self.ioases[ioas].domains += 1;
                Answer::Done
            }
            Op::ChangeProcess(taker) => self.change_process(taker),
            Op::Access(ioas) => {
                let sets = self.ioases[ioas].areas.values();
                Answer::Owners(sets.map(|set| self.owners[set]).collect())
            }
        }
    }
}

/// The answer of each operation, and the final state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) end: State,
}

impl Outcome {
    /// Returns true if some sequential order of the operations has this outcome.
    pub(crate) fn is_linear(&self, start: &State, ops: &[Op]) -> bool {
        let pending: Vec<(Op, &Answer)> = ops.iter().copied().zip(&self.answers).collect();
        self.is_reached(start, &pending)
    }

    fn is_reached(&self, state: &State, pending: &[(Op, &Answer)]) -> bool {
        if pending.is_empty() {
            return *state == self.end;
        }
        (0..pending.len()).any(|first| {
            let mut rest = pending.to_vec();
            let (op, answer) = rest.remove(first);
            let mut next = state.clone();
            let is_its_answer = next.apply(op) == *answer;
            (is_its_answer && self.is_reached(&next, &rest))
                || (answer.is_transient(op) && self.is_reached(state, &rest))
        })
    }
}
