//! Who drives, who gets which job, and how it ends.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use push_core::push::Callbacks;
use push_core::{Job, Next};

use crate::puppet::Puppet;
use crate::{PATIENCE, eventually};

const STAND_IN: &str = "push_stand_in";

/// Long enough for the stand-in to stop looking by itself.
const QUIET: Duration = Duration::from_millis(100);

fn await_driver(puppet: &Puppet, name: &str) {
    eventually(&format!("{name} drives"), || puppet.driver() == name);
}

#[test]
fn a_worker_that_waits_drives_and_the_stand_in_drives_without_one() {
    let puppet = Puppet::started();
    await_driver(&puppet, STAND_IN);
    let hand = puppet.hand("worker", drop);
    await_driver(&puppet, "worker");
    hand.handle.interrupt();
    assert!(matches!(hand.end(), Next::Interrupted));
    await_driver(&puppet, STAND_IN);
    assert!(puppet.context.base.stats.stand_ins.get() >= 2);
    puppet.stop();
}

#[test]
fn the_stand_in_takes_over_from_a_worker_that_is_busy_however_quiet_it_was() {
    let puppet = Puppet::started();
    let (held, holding) = channel();
    let (release, released) = channel::<()>();
    let hand = puppet.hand("worker", move |_| {
        held.send(()).unwrap();
        released.recv_timeout(PATIENCE).unwrap();
    });
    for pause in [Duration::ZERO, QUIET, Duration::ZERO] {
        await_driver(&puppet, "worker");
        thread::sleep(pause);
        puppet.queue(&[&puppet.client()]);
        holding.recv_timeout(PATIENCE).unwrap();
        await_driver(&puppet, STAND_IN);
        release.send(()).unwrap();
    }
    puppet.stop();
    assert!(matches!(hand.end(), Next::Stopped));
}

/// What the driver was told of another worker took before the driver looked: the next job must be told anew.
#[test]
fn a_job_that_another_worker_takes_does_not_leave_the_driver_deaf() {
    let puppet = Puppet::started();
    let (_hand, jobs) = puppet.reporting_hand("worker");
    await_driver(&puppet, "worker");
    let (first, second) = (puppet.client(), puppet.client());
    let (leave, left) = channel::<()>();
    let (scheduler, client) = (Arc::clone(&puppet.scheduler), Arc::clone(&first));
    puppet.inside(move || {
        scheduler.ready(client);
        // The driver cannot look before this returns.
        left.recv_timeout(PATIENCE).unwrap();
    });
    let mut other = puppet.reactor.worker();
    let mut job = None;
    eventually("the first job is there", || {
        job = puppet.reactor.try_next(&mut other);
        job.is_some()
    });
    assert!(matches!(job, Some(Job::Callbacks(client)) if client.id() == first.id()));
    leave.send(()).unwrap();
    // So that the driver has looked in between: nothing shows that it has.
    thread::sleep(QUIET);
    puppet.queue(&[&second]);
    assert_eq!(jobs.recv_timeout(PATIENCE), Ok(second.id()));
    puppet.stop();
}

/// Queued in one go; whoever takes the first does not come back for the rest.
#[test]
fn jobs_behind_a_blocked_one_are_taken_by_other_workers() {
    for pause in [Duration::ZERO, QUIET] {
        let puppet = Puppet::started();
        let blocking = puppet.client();
        let id = blocking.id();
        let (tell, told) = channel();
        let (release, released) = crossbeam_channel::unbounded::<()>();
        let hands: Vec<_> = (0..3)
            .map(|_| {
                let (tell, released) = (tell.clone(), released.clone());
                puppet.hand("worker", move |client| {
                    tell.send(client.id()).unwrap();
                    if client.id() == id {
                        released.recv_timeout(PATIENCE).unwrap();
                    }
                })
            })
            .collect();
        await_driver(&puppet, "worker");
        thread::sleep(pause);
        let behind = [puppet.client(), puppet.client(), puppet.client()];
        // Two workers are blocked, so the third has the rest.
        puppet.queue(&[&blocking, &behind[0], &blocking, &behind[1], &behind[2]]);
        let mut taken: Vec<_> = (0..5).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        taken.sort_unstable();
        let mut expected = vec![id, id];
        expected.extend(behind.iter().map(|client| client.id()));
        assert_eq!(taken, expected);
        (0..2).for_each(|_| release.send(()).unwrap());
        puppet.stop();
        for hand in hands {
            assert!(matches!(hand.end(), Next::Stopped));
        }
    }
}

#[test]
fn slow_jobs_leave_the_wheel_to_the_stand_in_and_quick_ones_give_it_back() {
    let puppet = Puppet::started();
    let (tell, told) = channel();
    let slow = puppet.client();
    let id = slow.id();
    let _hand = puppet.hand("worker", move |client| {
        if client.id() == id {
            thread::sleep(Duration::from_millis(1));
        }
        tell.send(()).unwrap();
    });
    let run = |client: &Arc<_>| {
        puppet.queue(&[client]);
        told.recv_timeout(PATIENCE).unwrap();
    };
    let quick = puppet.client();
    for _ in 0..2 {
        await_driver(&puppet, "worker");
        (0..50).for_each(|_| run(&slow));
        await_driver(&puppet, STAND_IN);
        // While the worker waits, and between its jobs: the stand-in never leaves.
        let before = puppet.context.base.stats.stand_ins.get();
        (0..20).for_each(|_| run(&slow));
        assert_eq!(puppet.context.base.stats.stand_ins.get(), before);
        assert_eq!(puppet.driver(), STAND_IN);
        eventually("the worker drives again", || {
            (0..50).for_each(|_| run(&quick));
            puppet.driver() == "worker"
        });
    }
    puppet.stop();
}

#[test]
fn an_interrupt_gets_back_who_drives_and_who_waits_to_be_called() {
    for round in 0..20 {
        let puppet = Puppet::started();
        let first = puppet.hand("first", drop);
        await_driver(&puppet, "first");
        let (second, jobs) = puppet.reporting_hand("second");
        if round % 2 == 0 {
            second.handle.interrupt();
            assert!(matches!(second.end(), Next::Interrupted));
            assert_eq!(puppet.driver(), "first");
            first.handle.interrupt();
            assert!(matches!(first.end(), Next::Interrupted));
        } else {
            first.handle.interrupt();
            assert!(matches!(first.end(), Next::Interrupted));
            // It waited to be called; whoever drives by now calls it for a job.
            let client = puppet.client();
            puppet.queue(&[&client]);
            assert_eq!(jobs.recv_timeout(PATIENCE), Ok(client.id()));
            await_driver(&puppet, "second");
            second.handle.interrupt();
            assert!(matches!(second.end(), Next::Interrupted));
        }
        puppet.stop();
    }
}

#[test]
fn an_interrupt_that_comes_before_the_call_counts_once() {
    let puppet = Puppet::started();
    let worker = puppet.reactor.worker();
    worker.handle().interrupt();
    assert!(matches!(puppet.ask(worker), Next::Interrupted));
    let mut worker = puppet.reactor.worker();
    worker.handle().interrupt();
    assert!(matches!(puppet.reactor.next(&mut worker), Next::Interrupted));
    let client = puppet.client();
    puppet.queue(&[&client]);
    assert!(matches!(puppet.reactor.next(&mut worker), Next::Job(Job::Callbacks(it)) if it.id() == client.id()));
    puppet.stop();
}

#[test]
fn a_stop_returns_whoever_drives() {
    Puppet::new().stop();
    for _ in 0..20 {
        // Nobody, or the stand-in that just begins.
        Puppet::started().stop();
    }

    let stood_in = Puppet::started();
    await_driver(&stood_in, STAND_IN);
    stood_in.stop();
    assert!(matches!(stood_in.ask(stood_in.reactor.worker()), Next::Stopped));

    for pause in [Duration::ZERO, QUIET] {
        let driven = Puppet::started();
        let hands: Vec<_> = (0..5).map(|_| driven.hand("worker", drop)).collect();
        await_driver(&driven, "worker");
        thread::sleep(pause);
        driven.stop();
        for hand in hands {
            assert!(matches!(hand.end(), Next::Stopped));
        }
        driven.stop();
        assert!(matches!(driven.ask(driven.reactor.worker()), Next::Stopped));
    }
}

#[test]
fn a_stop_does_not_wait_for_who_is_busy_and_what_is_left_is_handed_out() {
    let puppet = Puppet::started();
    let (held, holding) = channel();
    let (release, released) = channel::<()>();
    let last = puppet.client();
    let id = last.id();
    let hand = puppet.hand("worker", move |client| {
        held.send(client.id()).unwrap();
        if client.id() != id {
            released.recv_timeout(PATIENCE).unwrap();
        }
    });
    let busy = puppet.client();
    puppet.queue(&[&busy]);
    assert_eq!(holding.recv_timeout(PATIENCE), Ok(busy.id()));
    puppet.scheduler.ready(last);
    puppet.stop();
    release.send(()).unwrap();
    assert_eq!(holding.recv_timeout(PATIENCE), Ok(id));
    assert!(matches!(hand.end(), Next::Stopped));
}
