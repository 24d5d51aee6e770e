//! An iommufd context whose operations run concurrently, each under the locks that Linux takes.
//!
//! State that no lock protects is guarded by assertions: CHANGE_PROCESS only tries to lock
//! `PageSet::owner` and the pins, and a failed try panics with the claim that it violates.
//!
//! Mirrors `iopt_map_pages`, `iopt_get_pages`, `iopt_unmap_iova_range`, `iopt_table_add_domain`
//! (`io_pagetable.c`), `iommufd_take_all_iova_rwsem` and `iommufd_ioas_change_process` (`ioas.c`).

use crate::rwsem::RwSem;
use crate::sequential::{Answer, IoasState, Op, Pid, Place, ROOM_PAGES, SetName, State};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A mutant of the locking protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// CHANGE_PROCESS assumes that every area has pages (before d616de490ec0).
    Unchecked,
    /// CHANGE_PROCESS skips areas without pages.
    SkipsTransition,
    /// CHANGE_PROCESS keeps its locks when it fails.
    KeepsLocks,
    /// CHANGE_PROCESS does not take `ioas_creation_lock`.
    NoCreationLock,
    /// The second of two takers locks the IOASes from the last to the first.
    Reversed,
    /// MAP and COPY publish an area after they have released `domains_rwsem`.
    PublishesLate,
    /// After removing an area, UNMAP restarts from the beginning of its range instead of from
    /// behind the area.
    Restarts,
}

struct PageSet {
    name: SetName,
    /// Read under an `iova_rwsem` or by the owner of an area in transition; written under all of
    /// them.
    owner: RwSem<Pid>,
    /// Number of areas that have it pinned (`pages->mutex`, the innermost lock).
    pins: Mutex<usize>,
}

/// An area without pages is in transition: reserved by a MAP, or being torn down by an UNMAP.
struct Area {
    pages: Option<Arc<PageSet>>,
}

struct Ioas {
    /// Number of domains.
    domains_rwsem: RwSem<usize>,
    iova_rwsem: RwSem<BTreeMap<u8, Area>>,
    /// Number of domains that map each address.
    tables: Mutex<BTreeMap<u8, usize>>,
}

pub(crate) struct Context {
    creation_lock: RwSem<()>,
    ioases: Vec<Ioas>,
    charged_pages: [AtomicUsize; 3],
    faults: &'static [Fault],
}

impl PageSet {
    fn new(name: SetName, owner: Pid) -> Arc<Self> {
        Arc::new(Self { name, owner: RwSem::new(owner), pins: Mutex::new(0) })
    }
}

impl Context {
    pub(crate) fn new(start: &State, faults: &'static [Fault]) -> Self {
        let context = Self {
            creation_lock: RwSem::new(()),
            ioases: start.ioases.iter().map(|_| Ioas::new()).collect(),
            charged_pages: [0; 3].map(AtomicUsize::new),
            faults,
        };
        let sets: BTreeMap<SetName, Arc<PageSet>> =
            start.owners.iter().map(|(name, pid)| (*name, PageSet::new(*name, *pid))).collect();
        for (ioas, begun) in start.ioases.iter().enumerate() {
            for (iova, set) in &begun.areas {
                context.install(0, Arc::clone(&sets[set]), Place { ioas, iova: *iova });
            }
            (0..begun.domains).for_each(|_| context.attach(0, ioas));
        }
        context
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub(crate) fn run(&self, thread: usize, op: Op) -> Answer {
        match op {
            Op::Map(pid, set, to) => self.install(thread, PageSet::new(set, pid), to),
            Op::Copy(from, to) => match self.pages_at(thread, from) {
                Some(pages) => self.install(thread, pages, to),
                None => Answer::Enoent,
            },
            Op::Unmap(from) => self.unmap(thread, from),
            Op::Attach(ioas) => {
                self.attach(thread, ioas);
                Answer::Done
            }
            Op::ChangeProcess(taker) => self.change_process(thread, taker),
            Op::Access(ioas) => self.access(thread, ioas).map_or(Answer::Enoent, Answer::Owners),
        }
    }

    fn pages_at(&self, thread: usize, from: Place) -> Option<Arc<PageSet>> {
        let areas = self.ioases[from.ioas].iova_rwsem.read(thread);
        areas.get(&from.iova)?.pages.clone()
    }

    /// Reserves an area, fills the existing domains, and publishes the area.
    fn install(&self, thread: usize, set: Arc<PageSet>, to: Place) -> Answer {
        let ioas = &self.ioases[to.ioas];
        {
            let mut areas = ioas.iova_rwsem.write();
            if areas.contains_key(&to.iova) {
                return Answer::Eexist;
            }
            areas.insert(to.iova, Area { pages: None });
        }
        let mut domains = Some(ioas.domains_rwsem.read(thread));
        let count = domains.as_deref().copied().unwrap_or_default();
        if count > 0 {
            self.pin(thread, &set);
        }
        ioas.tables.lock().expect("no poison").insert(to.iova, count);
        if self.has(Fault::PublishesLate) {
            domains = None;
        }
        let mut areas = ioas.iova_rwsem.write();
        areas.get_mut(&to.iova).expect("its own reservation").pages = Some(set);
        drop(areas);
        drop(domains);
        Answer::Done
    }

    fn unmap(&self, thread: usize, from: Place) -> Answer {
        let ioas = &self.ioases[from.ioas];
        let domains = ioas.domains_rwsem.read(thread);
        let mut areas = ioas.iova_rwsem.write();
        let Some(area) = areas.get_mut(&from.iova) else { return Answer::Enoent };
        let Some(set) = area.pages.take() else { return Answer::Ebusy };
        drop(areas);
        ioas.tables.lock().expect("no poison").remove(&from.iova);
        if *domains > 0 {
            self.unpin(thread, &set);
        }
        ioas.iova_rwsem.write().remove(&from.iova);
        if self.has(Fault::Restarts) {
            let areas = ioas.iova_rwsem.read(thread);
            let is_whole = areas.get(&from.iova).is_none_or(|area| area.pages.is_some());
            return if is_whole { Answer::Done } else { Answer::Ebusy };
        }
        Answer::Done
    }

    fn attach(&self, thread: usize, ioas: usize) {
        let ioas = &self.ioases[ioas];
        let mut domains = ioas.domains_rwsem.write();
        let areas = ioas.iova_rwsem.write();
        for (iova, area) in areas.iter() {
            // The call that reserved the area fills the new domain.
            let Some(set) = &area.pages else { continue };
            if *domains == 0 {
                self.pin(thread, set);
            }
            *ioas.tables.lock().expect("no poison").entry(*iova).or_default() += 1;
        }
        *domains += 1;
    }

    fn access(&self, thread: usize, ioas: usize) -> Option<Vec<Pid>> {
        let areas = self.ioases[ioas].iova_rwsem.read(thread);
        let sets: Option<Vec<&PageSet>> =
            areas.values().map(|area| area.pages.as_deref()).collect();
        let sets = sets?;
        let mut owners = BTreeMap::new();
        for set in &sets {
            owners.entry(set.name).or_insert_with(|| {
                set.owner.try_read(thread).expect("an owner changes while it is read")
            });
        }
        Some(sets.iter().map(|set| *owners[&set.name]).collect())
    }

    fn pin(&self, thread: usize, set: &PageSet) {
        let mut pins = set.pins.lock().expect("no poison");
        if *pins == 0 {
            let owner = set.owner.try_read(thread).expect("an owner changes while it is charged");
            self.charged_pages[*owner].fetch_add(1, SeqCst);
        }
        *pins += 1;
    }

    fn unpin(&self, thread: usize, set: &PageSet) {
        let mut pins = set.pins.lock().expect("no poison");
        *pins -= 1;
        if *pins == 0 {
            let owner = set.owner.try_read(thread).expect("an owner changes while it is uncharged");
            self.charged_pages[*owner].fetch_sub(1, SeqCst);
        }
    }

    fn change_process(&self, thread: usize, taker: Pid) -> Answer {
        let _creation = (!self.has(Fault::NoCreationLock)).then(|| self.creation_lock.write());
        let mut ioases: Vec<&Ioas> = self.ioases.iter().collect();
        if self.has(Fault::Reversed) && thread == 1 {
            ioases.reverse();
        }
        let held: Vec<_> = ioases.iter().map(|ioas| ioas.iova_rwsem.write()).collect();
        let areas: Vec<&Area> = held.iter().flat_map(|areas| areas.values()).collect();
        let answer = self.hand_over(thread, &areas, taker);
        if answer != Answer::Done && self.has(Fault::KeepsLocks) {
            std::mem::forget(held);
        }
        answer
    }

    /// Validates every area before any change; each set is charged once.
    fn hand_over(&self, thread: usize, areas: &[&Area], taker: Pid) -> Answer {
        let mut sets = BTreeMap::new();
        for area in areas {
            let pages = if self.has(Fault::Unchecked) {
                Some(area.pages.as_ref().expect("an area without pages is dereferenced"))
            } else {
                area.pages.as_ref()
            };
            match pages {
                Some(set) => _ = sets.insert(set.name, set),
                None if self.has(Fault::SkipsTransition) => {}
                None => return Answer::Ebusy,
            }
        }
        let owner = |set: &PageSet| *set.owner.try_read(thread).expect("this is the only taker");
        sets.retain(|_, set| owner(set) != taker);
        let pinned = |set: &PageSet| {
            *set.pins.try_lock().expect("pages are pinned while they change hands") > 0
        };
        let pages = sets.values().filter(|set| pinned(set)).count();
        let charge = |had: usize| (had + pages <= ROOM_PAGES[taker]).then_some(had + pages);
        if self.charged_pages[taker].fetch_update(SeqCst, SeqCst, charge).is_err() {
            return Answer::Enomem;
        }
        for set in sets.values() {
            let mut owner = set.owner.try_write().expect("an owner is read while it changes");
            if pinned(set) {
                self.charged_pages[*owner].fetch_sub(1, SeqCst);
            }
            *owner = taker;
        }
        Answer::Done
    }

    /// Returns the final state; the tables and the accounts must be consistent with it.
    pub(crate) fn end(&self) -> State {
        let mut state = State::default();
        for ioas in &self.ioases {
            let domains = *ioas.domains_rwsem.read(0);
            let mut areas = BTreeMap::new();
            for (iova, area) in ioas.iova_rwsem.read(0).iter() {
                let set = area.pages.as_ref().expect("nothing is in transition at the end");
                areas.insert(*iova, set.name);
                state.owners.insert(set.name, *set.owner.read(0));
            }
            let shown = areas.keys().map(|iova| (*iova, domains)).collect();
            let tables = ioas.tables.lock().expect("no poison");
            assert_eq!(*tables, shown, "every domain shows every area");
            state.ioases.push(IoasState { domains, areas });
        }
        for (pid, charged) in self.charged_pages.iter().enumerate() {
            let charged = charged.load(SeqCst);
            assert_eq!(charged, state.charge_pages(pid), "process {pid} pays for what it pins");
        }
        state
    }
}

impl Ioas {
    fn new() -> Self {
        Self {
            domains_rwsem: RwSem::new(0),
            iova_rwsem: RwSem::new(BTreeMap::new()),
            tables: Mutex::new(BTreeMap::new()),
        }
    }
}
