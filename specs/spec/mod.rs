//! The essence of a handoff: what it is about, without a call, a message or a phase. The page to
//! read first.
//!
//! A guest, the pages that its devices write to, and the devices themselves go from one program to
//! another. Either may be killed at any time, and the old one may give up at any time before the
//! decision. A [`AbstractState`] is all that matters of this: who lives, where the guest is and
//! whether it runs, who owns the pages, what the devices can do, and what is decided. A
//! [`SpecAction`] is all that may happen to it. Why that is enough:
//!
//! * **One decision.** By transfer it is the commit of the new process: before it the guest is the
//!   old one's, after it the new one's. It needs the old one's word, which the old one gives once,
//!   with the guest stopped, and can take back only by giving up: no commit follows that while it
//!   lives. By exec nobody else is there: to take the pages is the decision.
//! * **The guest runs where its pages are owned.** So the new process takes them before it commits,
//!   and the old one, having given its word, takes them back only when the new one is gone and can
//!   take them no more.
//! * **Devices work while one process holds them.** So the old process hands them over before it
//!   gives its word, perhaps while its guest still runs, and leaves only after the commit.
//! * **Nobody stays in between.** Without a decision the new process leaves, and the old one runs
//!   the guest; with it the old one leaves. That it has given up dies with the old process: one
//!   that has its word may commit then, for nobody else runs the guest.
//!
//! That is checked twice, here and by SPIN (`essence.pml`, row by row the same). That the protocol
//! does nothing else is the property `REF-1`: each transition of a world changes nothing of this,
//! or does what one row does, and the old process may give up over it
//! ([`crate::spec::refinement`]).

mod model;
pub mod refinement;

pub use model::AbstractSpec;

use crate::state::action::Side;
use handoff_model::protocol::Mode;
use std::fmt;

/// Whether a program takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// It does.
    Here,
    /// It does, and wants the handoff no more.
    GivesUp,
    /// It does not: not yet, or not any more.
    Gone,
    /// It was killed from outside.
    Killed,
}

/// What a program has of the guest as it is now. An older state is none, nor is one that the guest
/// may not run from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// Nothing.
    Absent,
    /// All of it, standing still.
    Stopped,
    /// All of it, running.
    Runs,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing.
    Undecided,
    /// The new process may decide.
    CommitAllowed,
    /// The guest is the new one's.
    Committed,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undecided => "undecided",
            Self::CommitAllowed => "commit allowed",
            Self::Committed => "committed",
        })
    }
}

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    /// Whether it takes part.
    pub life: Life,
    /// What it has of the guest.
    pub guest: Guest,
    /// Whether the devices stay open as long as it lives.
    pub holds: bool,
}

/// A handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AbstractState {
    /// The program that has the guest at the beginning.
    pub old: Participant,
    /// The program that shall have it.
    pub new: Participant,
    /// Who owns all of the pages; `None`: nobody who lives, or each some.
    pub owner: Option<Side>,
    /// The devices reach the guest's memory, and the guest.
    pub works: bool,
    /// What is decided.
    pub decision: Decision,
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One of the programs: it will not stay undone.
    Program,
    /// The environment: it may stay undone.
    Outside,
}

/// Something that may happen.
#[derive(Clone, Copy, Debug)]
pub struct SpecAction {
    /// What.
    pub name: &'static str,
    /// By whom.
    pub by: By,
    /// When, in words.
    pub when: &'static str,
    /// When.
    pub may: fn(&AbstractState) -> bool,
    /// What it makes of it.
    pub does: fn(&mut AbstractState),
}

use Decision::{CommitAllowed, Committed, Undecided};
use Guest::{Absent, Runs, Stopped};
use Life::{GivesUp, Gone, Here, Killed};
use Side::{New, Old};

impl Participant {
    const ABSENT: Self = Self { life: Gone, guest: Absent, holds: false };

    /// Whether it takes part.
    pub fn is_here(self) -> bool {
        matches!(self.life, Here | GivesUp)
    }

    /// Whether it does and wants to.
    fn is_willing(self) -> bool {
        self.life == Here
    }
}

impl SpecAction {
    fn next(&self, mut it: AbstractState) -> AbstractState {
        (self.does)(&mut it);
        it
    }
}

impl AbstractState {
    /// The first state. By exec the new program is not there yet.
    pub fn begin(mode: Mode) -> Self {
        let life = if mode == Mode::Exec { Gone } else { Here };
        Self {
            old: Participant { life: Here, guest: Runs, holds: true },
            new: Participant { life, ..Participant::ABSENT },
            owner: Some(Old),
            works: true,
            decision: Undecided,
        }
    }

    /// What a program keeps alive dies with it.
    fn die(&mut self, side: Side, life: Life) {
        let nobody = Participant { life, ..Participant::ABSENT };
        *(if side == Old { &mut self.old } else { &mut self.new }) = nobody;
        self.owner = self.owner.filter(|owner| *owner != side);
        self.works &= self.old.holds || self.new.holds;
    }

    /// Who must have the guest.
    pub fn keeper(&self) -> Side {
        if self.decision == Committed || self.old.life == Gone { New } else { Old }
    }

    fn party(&self, side: Side) -> Participant {
        if side == Old { self.old } else { self.new }
    }
}

const fn row(
    name: &'static str,
    when: &'static str,
    may: fn(&AbstractState) -> bool,
    does: fn(&mut AbstractState),
) -> SpecAction {
    SpecAction { name, by: By::Program, when, may, does }
}

const fn outside(
    name: &'static str,
    may: fn(&AbstractState) -> bool,
    does: fn(&mut AbstractState),
) -> SpecAction {
    SpecAction { name, by: By::Outside, when: "it lives", may, does }
}

const GIVE_UP: SpecAction = row(
    "the old process gives up",
    "nothing is decided",
    |it| it.old.is_willing() && it.decision != Committed,
    |it| it.old.life = GivesUp,
);
const STOP: SpecAction = row(
    "the old process stops the guest",
    "it has not given up",
    |it| it.old.is_willing() && it.old.guest == Runs,
    |it| it.old.guest = Stopped,
);
const RESUME: SpecAction = row(
    "the old process lets the guest run again",
    "it has given up and owns the pages, and the new one, if the commit is allowed, is gone",
    |it| {
        let is_alone = it.decision == Undecided || !it.new.is_here();
        it.old.life == GivesUp && it.old.guest == Stopped && it.owner == Some(Old) && is_alone
    },
    |it| it.old.guest = Runs,
);
const TAKE_BACK: SpecAction = row(
    "the old process takes the pages back",
    "it has given up, has the guest, and the new one is gone",
    |it| {
        let has_it = it.old.life == GivesUp && it.old.guest == Stopped;
        has_it && it.owner != Some(Old) && !it.new.is_here()
    },
    |it| it.owner = Some(Old),
);
const RUN: SpecAction = row(
    "the new process lets the guest run",
    "the guest is its own",
    |it| it.new.is_here() && it.decision == Committed && it.new.guest == Stopped,
    |it| it.new.guest = Runs,
);
const KILL_OLD: SpecAction =
    outside("the old process is killed", |it| it.old.is_here(), |it| it.die(Old, Killed));
const KILL_NEW: SpecAction =
    outside("the new process is killed", |it| it.new.is_here(), |it| it.die(New, Killed));

/// What may happen by transfer.
pub const TRANSFER: &[SpecAction] = &[
    GIVE_UP,
    STOP,
    row(
        "the old process hands the devices over",
        "it has the guest",
        |it| it.old.is_willing() && it.old.guest != Absent && it.new.is_here() && !it.new.holds,
        |it| it.new.holds = true,
    ),
    row(
        "the old process gives its word",
        "the guest is stopped, and the new one holds the devices and has a copy of it",
        |it| {
            it.old.is_willing()
                && it.old.guest == Stopped
                && it.new.holds
                && it.decision == Undecided
        },
        |it| (it.decision, it.new.guest) = (CommitAllowed, Stopped),
    ),
    row(
        "the new process takes some of the pages",
        "the commit is allowed",
        |it| it.new.is_here() && it.decision == CommitAllowed && it.owner == Some(Old),
        |it| it.owner = None,
    ),
    row(
        "the new process takes the pages",
        "the commit is allowed",
        |it| it.new.is_here() && it.decision == CommitAllowed && it.owner != Some(New),
        |it| it.owner = Some(New),
    ),
    row(
        "the new process commits",
        "the commit is allowed, it owns the pages, and the old one has not given up",
        |it| {
            let is_told =
                it.new.is_here() && it.decision == CommitAllowed && it.old.life != GivesUp;
            is_told && it.owner == Some(New) && it.new.guest == Stopped
        },
        |it| {
            it.decision = Committed;
            if it.old.guest == Stopped {
                it.old.guest = Absent;
            }
        },
    ),
    RUN,
    row(
        "the new process leaves",
        "the guest is not its own",
        |it| it.new.is_here() && it.decision != Committed,
        |it| it.die(New, Gone),
    ),
    TAKE_BACK,
    RESUME,
    row(
        "the old process lets go of the devices",
        "the guest is the new one's",
        |it| it.old.holds && it.decision == Committed,
        |it| (it.old.holds, it.works) = (false, it.works && it.new.holds),
    ),
    row(
        "the old process leaves",
        "the guest is the new one's",
        |it| it.old.is_here() && it.decision == Committed,
        |it| it.die(Old, Gone),
    ),
    KILL_OLD,
    KILL_NEW,
];

/// What may happen by exec. There is one process, and one of the programs at a time.
pub const EXEC: &[SpecAction] = &[
    GIVE_UP,
    STOP,
    row(
        "the old program becomes the new one",
        "the guest is stopped",
        |it| it.old.is_willing() && it.old.guest == Stopped,
        |it| {
            it.new = Participant { life: Here, holds: true, ..Participant::ABSENT };
            it.die(Old, Gone);
        },
    ),
    row(
        "the new program loads the guest",
        "it is there",
        |it| it.new.is_here() && it.decision == Undecided && it.new.guest == Absent,
        |it| it.new.guest = Stopped,
    ),
    row(
        "the new program takes the pages, which decides",
        "it has loaded the guest",
        |it| it.new.is_here() && it.decision == Undecided && it.new.guest == Stopped,
        |it| (it.owner, it.decision) = (Some(New), Committed),
    ),
    RUN,
    row(
        "the new program becomes the old one again",
        "nothing is decided",
        |it| it.new.is_here() && it.decision == Undecided,
        |it| {
            it.old = Participant { life: GivesUp, holds: true, ..Participant::ABSENT };
            it.die(New, Gone);
        },
    ),
    row(
        "the old program loads the guest",
        "it has become the old one again",
        |it| it.old.life == GivesUp && it.old.guest == Absent,
        |it| it.old.guest = Stopped,
    ),
    TAKE_BACK,
    RESUME,
    KILL_OLD,
    KILL_NEW,
];

/// What must hold: a name, and a predicate of a state and of whether that is at rest.
pub type Invariant = (&'static str, fn(&AbstractState, bool) -> bool);

/// All of them: at most one program runs the guest; who runs it owns its pages; as long as who must
/// have it lives, its devices reach it; it runs in the end, unless who must have it was killed from
/// outside; and then nobody else is left.
pub const INVARIANTS: &[Invariant] = &[
    ("one_guest", |it, _| !(it.old.guest == Runs && it.new.guest == Runs)),
    ("owned", |it, _| {
        [Old, New].iter().all(|s| it.party(*s).guest != Runs || it.owner == Some(*s))
    }),
    ("dma", |it, _| it.works || !it.party(it.keeper()).is_here()),
    ("runs", |it, at_rest| {
        let keeper = it.party(it.keeper());
        !at_rest || keeper.guest == Runs || keeper.life == Killed
    }),
    ("fenced", |it, at_rest| !(at_rest && it.old.is_here() && it.new.is_here())),
];
