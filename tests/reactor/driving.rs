//! Which thread drives, which app thread gets a job, and how it ends. Each test runs with the standby thread's timer, and
//! without it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use push_core::push::Callbacks;
use push_core::{Job, Next};

use crate::harness::{Harness, Standby};
use crate::{DEADLINE, eventually};

const STANDBY: &str = "push_standby";

/// Long enough for the standby thread to fall asleep on any machine that is not overloaded. The tests hold without this
/// pause, too. It makes them pass through one more state of the scheduler.
const QUIET: Duration = Duration::from_millis(100);

/// Makes a test of each function: with the standby thread's timer, and without.
macro_rules! tests {
    ($($name:ident)*) => {
        mod timed {
            $(#[test]
            fn $name() {
                super::$name(super::Standby::Timed);
            })*
        }

        mod ticking {
            $(#[test]
            fn $name() {
                super::$name(super::Standby::Ticking);
            })*
        }
    };
}

tests! {
    an_idle_thread_drives_and_the_standby_thread_drives_without_one
    the_standby_thread_drives_while_the_app_thread_is_busy_even_if_it_slept
    a_driver_that_was_woken_for_nothing_is_woken_again
    jobs_behind_one_that_blocks_are_taken_by_other_threads
    the_standby_thread_drives_for_a_slow_app_and_an_app_thread_for_a_fast_one
    an_interrupt_returns_an_app_thread_that_drives_and_one_that_is_idle
    an_interrupt_before_the_call_counts_once
    a_stop_ends_the_turn_of_any_driver
    a_stop_does_not_wait_for_a_busy_thread_and_hands_out_the_callbacks_that_are_left
}

fn await_driver(harness: &Harness, name: &str) {
    eventually(&format!("{name} drives"), || harness.driver() == name);
}

fn an_idle_thread_drives_and_the_standby_thread_drives_without_one(standby: Standby) {
    let harness = Harness::started(standby);
    await_driver(&harness, STANDBY);
    let app_thread = harness.spawn_app_thread("app thread", drop);
    await_driver(&harness, "app thread");
    app_thread.handle.interrupt();
    assert!(matches!(app_thread.end(), Next::Interrupted));
    await_driver(&harness, STANDBY);
    assert!(harness.context.base.stats.standby_turns.get() >= 2);
    harness.stop();
}

fn the_standby_thread_drives_while_the_app_thread_is_busy_even_if_it_slept(standby: Standby) {
    let harness = Harness::started(standby);
    let (held, holding) = channel();
    let (release, released) = channel::<()>();
    let app_thread = harness.spawn_app_thread("app thread", move |_| {
        held.send(()).unwrap();
        released.recv_timeout(DEADLINE).unwrap();
    });
    for pause in [Duration::ZERO, QUIET, Duration::ZERO] {
        await_driver(&harness, "app thread");
        thread::sleep(pause);
        harness.queue(&[&harness.client()]);
        holding.recv_timeout(DEADLINE).unwrap();
        await_driver(&harness, STANDBY);
        release.send(()).unwrap();
    }
    harness.stop();
    assert!(matches!(app_thread.end(), Next::Stopped));
}

/// The driver is woken for a job, but another app thread takes the job before the driver looks. The next job must wake the
/// driver again.
fn a_driver_that_was_woken_for_nothing_is_woken_again(standby: Standby) {
    let harness = Harness::started(standby);
    let (_app_thread, jobs) = harness.spawn_reporting_thread("app thread");
    await_driver(&harness, "app thread");
    let (first, second) = (harness.client(), harness.client());
    let (leave, left) = channel::<()>();
    let (scheduler, client) = (Arc::clone(&harness.scheduler), Arc::clone(&first));
    harness.run_on_driver(move || {
        scheduler.ready(client);
        // The driver cannot look before this returns.
        left.recv_timeout(DEADLINE).unwrap();
    });
    let mut other = harness.reactor.app_thread();
    let mut job = None;
    eventually("the first job is there", || {
        job = harness.reactor.try_next(&mut other);
        job.is_some()
    });
    assert!(matches!(job, Some(Job::Callbacks(client)) if client.id() == first.id()));
    leave.send(()).unwrap();
    // Time for the driver to look at the empty queue, which no event shows. Without that look the test passes, too.
    thread::sleep(QUIET);
    harness.queue(&[&second]);
    assert_eq!(jobs.recv_timeout(DEADLINE), Ok(second.id()));
    harness.stop();
}

/// The jobs are queued in one go, and the app thread that takes the first is blocked by it.
fn jobs_behind_one_that_blocks_are_taken_by_other_threads(standby: Standby) {
    for pause in [Duration::ZERO, QUIET] {
        let harness = Harness::started(standby);
        let blocking = harness.client();
        let id = blocking.id();
        let (tell, told) = channel();
        let (release, released) = crossbeam_channel::unbounded::<()>();
        let app_threads: Vec<_> = (0..3)
            .map(|_| {
                let (tell, released) = (tell.clone(), released.clone());
                harness.spawn_app_thread("app thread", move |client| {
                    tell.send(client.id()).unwrap();
                    if client.id() == id {
                        released.recv_timeout(DEADLINE).unwrap();
                    }
                })
            })
            .collect();
        await_driver(&harness, "app thread");
        thread::sleep(pause);
        let behind = [harness.client(), harness.client(), harness.client()];
        // Two app threads are blocked, so the third one takes the rest.
        harness.queue(&[&blocking, &behind[0], &blocking, &behind[1], &behind[2]]);
        let mut taken: Vec<_> = (0..5).map(|_| told.recv_timeout(DEADLINE).unwrap()).collect();
        taken.sort_unstable();
        let mut expected = vec![id, id];
        expected.extend(behind.iter().map(|client| client.id()));
        assert_eq!(taken, expected);
        (0..2).for_each(|_| release.send(()).unwrap());
        harness.stop();
        for app_thread in app_threads {
            assert!(matches!(app_thread.end(), Next::Stopped));
        }
    }
}

fn the_standby_thread_drives_for_a_slow_app_and_an_app_thread_for_a_fast_one(standby: Standby) {
    let harness = Harness::started(standby);
    let (tell, told) = channel();
    let slow = harness.client();
    let id = slow.id();
    let _app_thread = harness.spawn_app_thread("app thread", move |client| {
        if client.id() == id {
            thread::sleep(Duration::from_millis(1));
        }
        tell.send(()).unwrap();
    });
    let run = |client: &Arc<_>| {
        harness.queue(&[client]);
        told.recv_timeout(DEADLINE).unwrap();
    };
    let quick = harness.client();
    for _ in 0..2 {
        await_driver(&harness, "app thread");
        (0..50).for_each(|_| run(&slow));
        await_driver(&harness, STANDBY);
        // The standby thread does not stop driving between jobs, nor while the app thread is idle.
        let before = harness.context.base.stats.standby_turns.get();
        (0..20).for_each(|_| run(&slow));
        assert_eq!(harness.context.base.stats.standby_turns.get(), before);
        assert_eq!(harness.driver(), STANDBY);
        eventually("the app thread drives again", || {
            (0..50).for_each(|_| run(&quick));
            harness.driver() == "app thread"
        });
    }
    harness.stop();
}

fn an_interrupt_returns_an_app_thread_that_drives_and_one_that_is_idle(standby: Standby) {
    for round in 0..20 {
        let harness = Harness::started(standby);
        let first = harness.spawn_app_thread("first", drop);
        await_driver(&harness, "first");
        let (second, jobs) = harness.spawn_reporting_thread("second");
        if round % 2 == 0 {
            second.handle.interrupt();
            assert!(matches!(second.end(), Next::Interrupted));
            assert_eq!(harness.driver(), "first");
            first.handle.interrupt();
            assert!(matches!(first.end(), Next::Interrupted));
        } else {
            first.handle.interrupt();
            assert!(matches!(first.end(), Next::Interrupted));
            // The second app thread was idle. It is woken for a job by the thread that drives now.
            let client = harness.client();
            harness.queue(&[&client]);
            assert_eq!(jobs.recv_timeout(DEADLINE), Ok(client.id()));
            await_driver(&harness, "second");
            second.handle.interrupt();
            assert!(matches!(second.end(), Next::Interrupted));
        }
        harness.stop();
    }
}

fn an_interrupt_before_the_call_counts_once(standby: Standby) {
    let harness = Harness::started(standby);
    let app_thread = harness.reactor.app_thread();
    app_thread.handle().interrupt();
    assert!(matches!(harness.ask(app_thread), Next::Interrupted));
    let mut app_thread = harness.reactor.app_thread();
    app_thread.handle().interrupt();
    assert!(matches!(harness.reactor.next(&mut app_thread), Next::Interrupted));
    let client = harness.client();
    harness.queue(&[&client]);
    assert!(matches!(harness.reactor.next(&mut app_thread), Next::Job(Job::Callbacks(it)) if it.id() == client.id()));
    harness.stop();
}

fn a_stop_ends_the_turn_of_any_driver(standby: Standby) {
    Harness::new(standby).stop();
    for _ in 0..20 {
        // Nobody drives, or the standby thread has just begun to.
        Harness::started(standby).stop();
    }

    let undriven = Harness::started(standby);
    await_driver(&undriven, STANDBY);
    undriven.stop();
    assert!(matches!(undriven.ask(undriven.reactor.app_thread()), Next::Stopped));

    for pause in [Duration::ZERO, QUIET] {
        let driven = Harness::started(standby);
        let app_threads: Vec<_> = (0..5).map(|_| driven.spawn_app_thread("app thread", drop)).collect();
        await_driver(&driven, "app thread");
        thread::sleep(pause);
        driven.stop();
        for app_thread in app_threads {
            assert!(matches!(app_thread.end(), Next::Stopped));
        }
        driven.stop();
        assert!(matches!(driven.ask(driven.reactor.app_thread()), Next::Stopped));
    }
}

fn a_stop_does_not_wait_for_a_busy_thread_and_hands_out_the_callbacks_that_are_left(standby: Standby) {
    let harness = Harness::started(standby);
    let (held, holding) = channel();
    let (release, released) = channel::<()>();
    let last = harness.client();
    let id = last.id();
    let app_thread = harness.spawn_app_thread("app thread", move |client| {
        held.send(client.id()).unwrap();
        if client.id() != id {
            released.recv_timeout(DEADLINE).unwrap();
        }
    });
    let busy = harness.client();
    harness.queue(&[&busy]);
    assert_eq!(holding.recv_timeout(DEADLINE), Ok(busy.id()));
    harness.scheduler.ready(last);
    harness.stop();
    release.send(()).unwrap();
    assert_eq!(holding.recv_timeout(DEADLINE), Ok(id));
    assert!(matches!(app_thread.end(), Next::Stopped));
}
