//! An explicit-state model checker for any [`stateright::Model`]. It explores the state space
//! exhaustively in parallel, can resume an interrupted search, and checks invariants, action
//! properties, cycles, reachability of goals (`AG EF`) and fairness.
//!
//! The vocabulary:
//! * An [`Observer`](search::Observer) labels each reachable state with the invariants that it
//!   witnesses or violates, each transition with the action properties that it violates, and each
//!   action with the number of faults that it costs.
//! * An [`Exploration`](search::Exploration) is the set of reachable states, with a cheapest run to
//!   each: fewest faults first, then fewest steps.
//! * A [`Graph`](graph::Graph) is the same state space with all transitions, for questions that no
//!   single state answers.
//! * A [`Checkpoint`](search::Checkpoint) is an interrupted search in about eight bytes a state.
//!
//! | module | contents |
//! |---|---|
//! | [`search`] | exact or hash-compacted breadth-first search, limits, checkpoints |
//! | [`graph`] | cycles, longest runs, states that cannot reach a goal |
//! | [`fairness`] | infinite runs (lassos) that a weakly or strongly fair scheduler can follow |
//! | [`reduction`] | symmetry and partial-order reduction, and a check of their premises |
//! | [`intern`], [`memo`] | collapse compression: equal parts of states stored once, with facts |
//!
//! Results do not depend on the number of threads, nor on the number of runs that a search was
//! split into.
//!
//! ```
//! use handoff_checker::search::{Labels, Limits, explore};
//! # use stateright::{Model, Property};
//! /// A counter from 0 to 9.
//! struct Counter;
//! # impl Model for Counter {
//! #     type State = u32;
//! #     type Action = ();
//! #     fn init_states(&self) -> Vec<u32> { vec![0] }
//! #     fn actions(&self, at: &u32, actions: &mut Vec<()>) { if *at < 9 { actions.push(()) } }
//! #     fn next_state(&self, at: &u32, (): ()) -> Option<u32> { Some(at + 1) }
//! #     fn properties(&self) -> Vec<Property<Self>> { Vec::new() }
//! # }
//! let below_five = (1, |at: &u32| Labels { witness: 1, violation: u64::from(*at >= 5) });
//! let found = explore(&Counter, &below_five, Limits::default());
//! assert_eq!(found.states(), 10);
//! let violation = found.bad[0].expect("5 is reachable");
//! assert_eq!(*found.state(violation), 5);
//! ```

pub mod fairness;
pub mod graph;
pub mod intern;
pub mod memo;
mod pool;
pub mod reduction;
pub mod search;
