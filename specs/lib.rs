//! What a handoff must guarantee, in which worlds, how that is judged, and how it is told.
//!
//! * [`scenario`]: a virtual machine and what may go wrong, from a file; [`built_in`] ones;
//! * [`setting`] and [`world`]: that scenario set up, and one state of both roles on a simulated kernel; an [`action`] is what
//!   can happen next;
//! * [`essence`]: a handoff in one page, and [`refinement`]: each such world as one;
//! * [`wrong`]: what a process may be told that is not so, and [`mutants`]: the protocol with one thing left out;
//! * [`property`]: what must hold, over a view of that state;
//! * [`system`], [`packed`], [`search`], [`graph`], [`fair`]: the world as a `stateright::Model`, small, its exhaustive search, and
//!   what only the graph of all states shows: longest runs, ways that lead nowhere, and runs that go round for ever;
//! * [`rank`]: how far a state is from the end of every run;
//! * [`check`]: a verdict for each property, and [`story`], a violation told in [`words`] and [`explain`]ed; [`blackout`], how long a guest
//!   may stand still; [`compare`], several variants side by side; [`certificate`], a proof to be checked again; [`checkpoint`], a search that goes on later;
//! * [`zoo`]: every known bug, and the world in which it is found again; [`hazards`]: those of the kernel, and what each variant does about them;
//!   [`picture`]: a variant as a graph of phases, and [`pages`]: all of this as documentation;
//! * [`conform`]: facts about the kernel, on the simulated and on a real one;
//! * [`lockstep`]: random calls on both, compared;
//! * [`replay`]: a recorded trace against the simulated kernel;
//! * [`live`]: the same protocol on the real kernel of this host;
//! * [`cli`]: the command `handoff`.

pub mod action;
pub mod blackout;
pub mod built_in;
pub mod certificate;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod compare;
mod environment;
pub mod essence;
pub mod explain;
pub mod hazards;
pub mod live;
pub mod mutants;
mod numbers;
pub mod packed;
pub mod pages;
pub mod parts;
pub mod picture;
pub mod property;
pub mod rank;
pub mod refinement;
pub mod scenario;
pub mod setting;
pub mod sized;
pub mod story;
pub mod system;
pub mod world;
pub mod wrong;
pub mod zoo;
