//! The operations one after another: what each does to a plain state, and whether what several of
//! them did at once is what some order of them does.
//!
//! An operation may find an area in transition (`Answer::is_transient`); it then changes nothing
//! and needs no place in the order. Every other answer has to be that of its place.

use std::collections::{BTreeMap, BTreeSet};

/// A process, by its place in `ROOM_PAGES`.
pub(crate) type Pid = usize;
/// The owner of everything at the start.
pub(crate) const OLD: Pid = 0;
/// The one that takes over.
pub(crate) const NEW: Pid = 1;
/// One that cannot be charged for more than a page.
pub(crate) const POOR: Pid = 2;
/// How many pages each process may be charged for.
pub(crate) const ROOM_PAGES: [usize; 3] = [usize::MAX, usize::MAX, 1];

/// A page set of one page, by name.
pub(crate) type SetName = char;

/// Where an area is, or would be: every area is one page long.
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
    /// A first or further domain for an IOAS.
    Attach(usize),
    ChangeProcess(Pid),
    /// An access of a mediated device: it reads the owner of every set that the IOAS shows.
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
    /// Whether it may tell of an area in transition.
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

/// Everything that lasts. What the domains show and what is charged follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    pub(crate) ioases: Vec<IoasState>,
    /// Of every set that an area shows.
    pub(crate) owners: BTreeMap<SetName, Pid>,
}

impl State {
    /// IOASes, each with its number of domains and its areas; all sets are the old process's.
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

    /// How many pages a process is charged for.
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

/// What operations answered, each in its place, and what they left behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) end: State,
}

impl Outcome {
    /// Whether the operations did this in some order.
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
