//! The hub without sockets: what one turn does, and a model of hubs, workers and authors that die at any time.
//!
//! | module | subject |
//! |---|---|
//! | `wire` | a connection: bytes on their way in both directions |
//! | `author` | an outsider: what it has published, and what it knows |
//! | `worker` | a worker: the real state machine of one, and what it has got |
//! | `truth` | all that anybody has got or was answered, and what must hold of it |
//! | `roll` | the members that follow from all commands that were numbered |
//! | `world` | hub, workers and authors, and the steps of a schedule |
//! | `directed`, `members` | schedules that are not random |
//! | `relay` | parcels between workers |
//! | `supervisor` | a hub in a thread, and peers with real sockets |
//! | `driver` | the hub with real sockets |

mod author;
mod directed;
mod driver;
mod members;
mod relay;
mod roll;
mod supervisor;
mod truth;
mod wire;
mod worker;
mod world;

use world::World;

/// How many schedules a usual run has.
const SCHEDULES: u64 = 300;

/// A schedule takes as long as so many cases of a property test.
const CASES: u64 = 20;

/// How many steps a schedule has.
const STEPS: usize = 250;

fn run(seed: u64) {
    // A failure names the seed.
    let result = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        world.finish();
        world.summary()
    });
    result.unwrap_or_else(|panic| {
        eprintln!("the schedule {seed} has failed; run it alone with PUSH_SERVER_SCHEDULE={seed}");
        std::panic::resume_unwind(panic)
    });
}

/// No number is used for two messages. No message that was answered is lost in silence, none comes twice or out of
/// order, and the epoch changes only if the hub died together with a worker. At each place of the log all processes have the
/// same members. A member leaves only after the linger, and in the end the members are those that have clients.
///
/// `PUSH_SERVER_SCHEDULE` runs one schedule, and says what happens in it. With `PROPTEST_CASES`, as `rake properties` sets it,
/// there are as many schedules as take the time of so many cases, and other ones each time.
#[test]
fn nothing_is_lost_in_silence_and_nothing_comes_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PUSH_SERVER_SCHEDULE") {
        return run(seed);
    }
    match number("PROPTEST_CASES") {
        Some(cases) => {
            let first = fastrand::u64(..u64::MAX / 2);
            (first..=first + cases / CASES).for_each(run);
        }
        None => (0..SCHEDULES).for_each(run),
    }
}
