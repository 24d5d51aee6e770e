//! An explicit-state model checker for any [`stateright::Model`], which knows nothing of what is
//! modelled.
//!
//! | module | what it answers |
//! |---|---|
//! | [`search`] | which states are reachable, exactly, in one run or in several; the cheapest run to a state |
//! | [`graph`] | the graph of all states: cycles, longest runs, states that reach no goal |
//! | [`fairness`] | is there an infinite run that a weakly or strongly fair scheduler can follow? |
//! | [`reduction`] | smaller searches by symmetry and partial order, and whether a model's claims justify them |
//! | [`intern`], [`memo`] | collapse compression: equal parts of states stored once, with what is known of each |
//!
//! Results do not depend on the number of threads, nor on how many runs a search was split into.
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
