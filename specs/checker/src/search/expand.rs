//! Expansion of a block: threads check its states and execute their actions, then each shard
//! inserts the successors that belong to it.

use super::Search;
use super::found::Found;
use super::limits::StopReason;
use super::observer::Observer;
use super::place::{Candidate, Place};
use super::shard::Key;
use crate::pool::in_parallel;
use stateright::Model;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<S: Send + Sync, K: Key<S>> Search<S, K> {
    /// Expands a block; threads take it in pieces.
    pub(super) fn expand<M>(
        &self,
        model: &M,
        observer: &impl Observer<M>,
        block: &[Place],
    ) -> Vec<Found<S>>
    where
        M: Model<State = S> + Sync,
    {
        let pieces = block.chunks(self.limits.piece_of(block.len())).collect();
        in_parallel(self.limits.threads_for(block.len()), pieces, |piece: &[Place]| {
            let (mut found, mut actions) = (Found::new(piece.len()), Vec::new());
            for place in piece {
                self.expand_one::<M>(model, observer, *place, &mut actions, &mut found);
                if found.panic.is_some() {
                    break;
                }
            }
            found
        })
    }

    /// Checks a state and executes its actions. A panic ends the piece.
    fn expand_one<M: Model<State = S>>(
        &self,
        model: &M,
        observer: &impl Observer<M>,
        place: Place,
        actions: &mut Vec<M::Action>,
        found: &mut Found<S>,
    ) {
        let state = self.shards[place.shard()].opened(place.index());
        let mut doing = None;
        let done = catch_unwind(AssertUnwindSafe(|| {
            let labels = observer.state(state);
            found.note_bad(labels.violation, place);
            found.note_good(labels.witness);
            if !model.within_boundary(state) {
                found.beyond += 1;
                return;
            }
            model.actions(state, actions);
            assert!(u16::try_from(actions.len()).is_ok(), "{} actions", actions.len());
            if self.limits.depth_max.is_some_and(|most| self.cost.1 >= most) {
                found.too_deep |= !actions.is_empty();
                return;
            }
            let own = K::hash(state);
            for (index, action) in (0u16..).zip(actions.drain(..)) {
                doing = Some(index);
                let (faults, kind) = (observer.faults(&action), observer.kind(&action));
                let Some(next) = model.next_state(state, action) else { continue };
                found.taken[kind] += 1;
                found.note_bad(observer.edge(state, &next), place);
                let hash = K::hash(&next);
                let stays = hash == own && K::is_same(state, &next, hash);
                if !stays {
                    let candidate = Candidate { state: next, parent: place, action: index, faults };
                    found.keep::<K>(hash, candidate);
                }
            }
        }));
        actions.clear();
        if let Err(panic) = done {
            found.panic = Some((place, doing, message(&*panic)));
        }
    }

    /// Inserts the successors that the pieces of a block have found.
    pub(super) fn take_in(&mut self, mut found: Vec<Found<S>>) {
        let candidates = found.iter().map(Found::transitions).sum::<u64>();
        let cost = self.cost;
        let mut work: Vec<_> = self.shards.iter_mut().map(|shard| (shard, Vec::new())).collect();
        for part in &mut found {
            for (near, (_, parts)) in part.near.iter_mut().zip(&mut work) {
                parts.push(std::mem::take(near));
            }
        }
        let threads = self.limits.threads_for(usize::try_from(candidates).unwrap_or(usize::MAX));
        in_parallel(threads, work, |(shard, parts)| {
            shard.prefetch(parts.iter().map(Vec::len).sum());
            for part in parts {
                shard.merge(part, cost);
            }
        });
        for part in found {
            self.count(part);
        }
    }

    /// Adds the counts of a piece.
    fn count(&mut self, found: Found<S>) {
        self.counts.add(&found);
        for (property, place) in found.firsts {
            self.bad[property].get_or_insert(place);
        }
        if found.panic.is_some() && self.panic.is_none() {
            (self.panic, self.cut) = (found.panic, Some(StopReason::Panic));
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
