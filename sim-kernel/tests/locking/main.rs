//! The locks of iommufd around CHANGE_PROCESS, explored exhaustively in every interleaving.
//!
//! The simulated kernel runs one call at a time; Linux runs calls concurrently. The simulator
//! covers Linux's behaviour only if concurrent calls have the effect of some sequential order. This
//! is shown here for the calls that meet in an IOAS, on a model of their locks that loom runs in
//! every interleaving, without a bound on preemptions.
//!
//! The locks, from the outermost in: the context's `ioas_creation_lock`, an IOAS's `domains_rwsem`,
//! its `iova_rwsem`, a page set's mutex. Order of locking:
//!
//! | call           | locks                                                                      |
//! |----------------|----------------------------------------------------------------------------|
//! | MAP            | iova (w) to reserve; domains (r) to fill; within it iova (w) to publish     |
//! | COPY           | iova (r) of the source to get its pages; then as MAP                       |
//! | UNMAP          | domains (r): iova (w) to take the pages, tear down, iova (w) to remove     |
//! | attach         | domains (w), iova (w)                                                      |
//! | access         | iova (r)                                                                   |
//! | CHANGE_PROCESS | creation (w), then iova (w) of every IOAS in the order of their ids        |
//!
//! Between its two holds of `iova_rwsem` an area has no pages: it is in transition, no other call
//! may use it, and its pages may be pinned or unpinned at any time. The protocol is correct
//! because:
//! * there is no deadlock: the only call that holds two locks of one kind takes them by id, and no
//!   call takes an outer lock within an inner one (a deadlock needs the loss of both the creation
//!   lock *and* the order);
//! * a set's owner is read under an `iova_rwsem` or on behalf of an area in transition, and written
//!   under all of them while no area is in transition. So CHANGE_PROCESS must fail with `EBUSY`;
//!   skipping such areas would be incorrect;
//! * an area is published under `domains_rwsem`, so either it fills a concurrent new domain, or the
//!   domain is filled from it.
//!
//! There is one exception: pages that a COPY has obtained belong to no area until it reserves one.
//! If an UNMAP of its source and a CHANGE_PROCESS both complete in between, the set keeps its
//! former owner (`a_copy_can_carry_a_set_past_change_process`). No sequential order does that.
//!
//! `abort.rs` covers another race: an object is aborted while its file waits to be released.
//!
//! `sequential.rs` is the specification, `context.rs` the protocol and its mutants, `rwsem.rs` the
//! lock.

mod abort;
mod context;
mod rwsem;
mod sequential;

use abort::Put;
use context::{Context, Fault};
use sequential::{Answer, NEW, OLD, Op, Outcome, POOR, State, at};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Returns every outcome of concurrent operations.
fn explore(start: &State, faults: &'static [Fault], ops: &[Op]) -> BTreeSet<Outcome> {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let (start, ops, found) = (start.clone(), ops.to_vec(), Arc::clone(&outcomes));
    let mut builder = loom::model::Builder::new();
    (builder.preemption_bound, builder.max_permutations, builder.max_duration) = (None, None, None);
    builder.check(move || {
        let context = Arc::new(Context::new(&start, faults));
        let run = |thread: usize| {
            let (context, op) = (Arc::clone(&context), ops[thread]);
            move || context.run(thread, op)
        };
        let others: Vec<_> =
            (1..ops.len()).map(|thread| loom::thread::spawn(run(thread))).collect();
        let mut answers = vec![run(0)()];
        answers.extend(others.into_iter().map(|other| other.join().expect("no panic")));
        found.lock().expect("no poison").insert(Outcome { answers, end: context.end() });
    });
    let found = outcomes.lock().expect("no poison");
    found.clone()
}

fn answers(start: &State, ops: &[Op]) -> Vec<Vec<Answer>> {
    let all: BTreeSet<_> =
        explore(start, &[], ops).into_iter().map(|outcome| outcome.answers).collect();
    all.into_iter().collect()
}

/// Returns the outcomes that no sequential order of the operations explains.
fn unexplained(start: &State, faults: &'static [Fault], ops: &[Op]) -> Vec<Outcome> {
    let outcomes = explore(start, faults, ops).into_iter();
    outcomes.filter(|outcome| !outcome.is_linear(start, ops)).collect()
}

/// Returns two IOASes: one set is mapped in the first only, one in both; the second has
/// `domains_of_second` domains.
fn start(domains_of_second: usize) -> State {
    State::new(&[(1, &[(1, 'a'), (2, 'b')]), (domains_of_second, &[(2, 'b')])])
}

/// Returns one IOAS with one area.
fn small() -> State {
    State::new(&[(1, &[(1, 'a')])])
}

const MAP: Op = Op::Map(OLD, 'x', at(0, 3));
const UNMAP: Op = Op::Unmap(at(0, 1));
const COPY: Op = Op::Copy(at(0, 1), at(1, 1));
const CHANGE: Op = Op::ChangeProcess(NEW);

const OPS: &[Op] = &[
    MAP,
    Op::Map(OLD, 'y', at(0, 1)),
    Op::Map(NEW, 'z', at(1, 3)),
    COPY,
    Op::Copy(at(1, 2), at(0, 3)),
    UNMAP,
    Op::Unmap(at(0, 2)),
    Op::Unmap(at(1, 2)),
    Op::Attach(0),
    Op::Attach(1),
    CHANGE,
    Op::ChangeProcess(POOR),
    Op::Access(0),
];

#[test]
fn any_two_concurrent_calls_are_linearizable() {
    for start in [start(0), start(1)] {
        for (index, first) in OPS.iter().enumerate() {
            for second in &OPS[index..] {
                let ops = [*first, *second];
                assert_eq!(unexplained(&start, &[], &ops), [], "{ops:?}");
            }
        }
    }
}

#[test]
fn selected_triples_of_concurrent_calls_are_linearizable() {
    let one = small();
    let bare = State::new(&[(0, &[(1, 'a')])]);
    let two = State::new(&[(1, &[(1, 'a')]), (1, &[(1, 'a')])]);
    let threes: &[(&State, [Op; 3])] = &[
        (&bare, [CHANGE, MAP, UNMAP]),
        (&one, [CHANGE, MAP, Op::Attach(0)]),
        (&one, [CHANGE, UNMAP, Op::Attach(0)]),
        (&one, [CHANGE, UNMAP, Op::Map(NEW, 'x', at(0, 1))]),
        (&one, [CHANGE, UNMAP, Op::Access(0)]),
        (&one, [CHANGE, Op::ChangeProcess(POOR), UNMAP]),
        (&one, [CHANGE, Op::ChangeProcess(OLD), Op::Access(0)]),
        (&two, [CHANGE, UNMAP, Op::Unmap(at(1, 1))]),
        (&two, [CHANGE, Op::Copy(at(0, 1), at(1, 2)), Op::Attach(1)]),
        (&two, [CHANGE, Op::ChangeProcess(POOR), Op::ChangeProcess(OLD)]),
        (&one, [UNMAP, UNMAP, Op::Map(OLD, 'x', at(0, 1))]),
    ];
    for (start, ops) in threes {
        assert_eq!(unexplained(start, &[], ops), [], "{ops:?}");
    }
}

#[test]
fn change_process_finds_an_area_in_transition_busy() {
    use Answer::{Done, Ebusy};
    for other in [MAP, UNMAP] {
        assert_eq!(answers(&start(1), &[CHANGE, other]), [[Done, Done], [Ebusy, Done]]);
    }
    assert_eq!(answers(&start(1), &[CHANGE, Op::Attach(0)]), [[Done, Done]]);
}

#[test]
fn unmap_finds_an_area_in_transition_busy_and_copy_and_access_do_not_find_it() {
    use Answer::{Done, Ebusy, Enoent, Owners};
    let twice = [[Done, Ebusy], [Done, Enoent], [Ebusy, Done], [Enoent, Done]];
    assert_eq!(answers(&small(), &[UNMAP, UNMAP]), twice);
    assert_eq!(answers(&start(0), &[COPY, UNMAP]), [[Done, Done], [Enoent, Done]]);
    let seen = [Owners(vec![]), Owners(vec![OLD]), Enoent];
    assert_eq!(answers(&small(), &[Op::Access(0), UNMAP]), seen.map(|first| [first, Done]));
}

#[test]
fn all_sets_have_one_owner_at_any_time() {
    use Answer::{Done, Enomem, Owners};
    let owners = |pid| Owners(vec![pid, pid]);
    let seen = answers(&start(0), &[Op::Access(0), CHANGE]);
    assert_eq!(seen, [[owners(OLD), Done], [owners(NEW), Done]]);
    // The two pages exceed what this process can be charged for.
    let refused = answers(&start(0), &[Op::Access(0), Op::ChangeProcess(POOR)]);
    assert_eq!(refused, [[owners(OLD), Enomem]]);
}

#[test]
fn a_copy_can_carry_a_set_past_change_process() {
    let start = State::new(&[(0, &[(1, 'a')]), (0, &[])]);
    let stray = unexplained(&start, &[], &[CHANGE, UNMAP, COPY]);
    let end = State::new(&[(0, &[]), (0, &[(1, 'a')])]);
    assert_eq!(end.owners[&'a'], OLD, "it kept its owner, though the taker was told of success");
    assert_eq!(stray, [Outcome { answers: vec![Answer::Done; 3], end }]);
}

#[test]
#[should_panic(expected = "an area without pages is dereferenced")]
fn without_d616de490ec0_a_map_under_way_is_looked_through() {
    explore(&start(1), &[Fault::Unchecked], &[CHANGE, MAP]);
}

#[test]
#[should_panic(expected = "an area without pages is dereferenced")]
fn without_d616de490ec0_an_unmap_under_way_is_looked_through() {
    explore(&start(1), &[Fault::Unchecked], &[CHANGE, UNMAP]);
}

#[test]
#[should_panic(expected = "an area without pages is dereferenced")]
fn without_d616de490ec0_a_copy_under_way_is_looked_through() {
    explore(&start(1), &[Fault::Unchecked], &[CHANGE, COPY]);
}

#[test]
#[should_panic(expected = "while they change hands")]
fn skipping_areas_in_transition_is_incorrect() {
    explore(&start(0), &[Fault::SkipsTransition], &[CHANGE, Op::Unmap(at(0, 2))]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn locks_kept_after_a_failure_deadlock() {
    explore(&start(1), &[Fault::KeepsLocks], &[CHANGE, MAP]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_second_taker_out_of_order_deadlocks() {
    let faults = &[Fault::NoCreationLock, Fault::Reversed];
    explore(&start(1), faults, &[CHANGE, Op::ChangeProcess(NEW)]);
}

#[test]
fn the_order_or_the_creation_lock_prevents_that_deadlock() {
    let takers = [CHANGE, Op::ChangeProcess(OLD)];
    assert_eq!(unexplained(&start(1), &[Fault::NoCreationLock], &takers), []);
    assert_eq!(unexplained(&start(1), &[Fault::Reversed], &takers), []);
}

#[test]
#[should_panic(expected = "every domain shows every area")]
fn an_area_published_late_is_missing_from_a_new_domain() {
    explore(&start(1), &[Fault::PublishesLate], &[MAP, Op::Attach(0)]);
}

/// Areas that are mapped during an UNMAP are not unmapped by it.
#[test]
fn an_unmap_that_begins_anew_stumbles_over_what_came_after_it() {
    use Answer::{Done, Ebusy, Eexist};
    let ops = [UNMAP, Op::Map(OLD, 'y', at(0, 1))];
    assert_eq!(answers(&small(), &ops), [[Done, Done], [Done, Eexist]]);
    let found = explore(&small(), &[Fault::Restarts], &ops);
    assert!(found.iter().any(|outcome| outcome.answers == [Ebusy, Done]));
}

#[test]
fn an_aborted_object_outlives_its_file() {
    abort::explore(Put::Now);
}

#[test]
#[should_panic(expected = "an object is used that has been freed")]
fn without_4e034bf045b1_a_file_that_is_released_later_finds_its_object_freed() {
    abort::explore(Put::Later);
}
