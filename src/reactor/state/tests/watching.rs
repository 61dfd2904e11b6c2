//! A model of all threads and of the timer, which take their steps in any order.
//!
//! The steps are those of [`crate::reactor::scheduler`] and [`crate::reactor::standby`]. Time passes only between them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::reactor::watchdog::TICK;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// This many eighths of a tick pass.
    Time(u32),
    /// A job arrives: on the driver's thread, or from another one.
    Job,
    /// An app thread does what it does next: its job ends, it takes one, drives, looks, or becomes idle.
    App(usize),
    /// An app thread is interrupted.
    Interrupt(usize),
    /// An app thread is killed: as soon as it neither drives nor sleeps, it takes no further step.
    Kill(usize),
    /// The standby thread does what it does next.
    Standby,
    /// The latest jobs were slow, or fast.
    Slow,
    Fast,
}

#[derive(Debug, Default)]
enum App {
    /// Between jobs.
    #[default]
    Asks,
    /// It has a job, which may last.
    Busy,
    Drives(Box<LocalRuntime>),
    Idle,
    Dead,
}

#[derive(Debug)]
enum StandbyThread {
    /// It waits for the timer.
    Waits,
    /// The timer has woken it, and it does not have the lock yet.
    Woken,
    Drives(Box<LocalRuntime>),
    Ended,
}

/// A timerfd.
#[derive(Debug, Default)]
struct FakeTimer {
    at: Option<Instant>,
    fired: bool,
}

struct Model {
    state: SchedulerState,
    now: Instant,
    parked_at: Instant,
    timer: FakeTimer,
    standby: StandbyThread,
    apps: Vec<App>,
    threads: Vec<AppThread>,
    interrupted: Vec<bool>,
    killed: Vec<bool>,
}

impl Model {
    fn new(apps: usize) -> Self {
        let now = Instant::now();
        let mut model = Model {
            state: started(),
            now,
            parked_at: now,
            timer: FakeTimer::default(),
            standby: StandbyThread::Waits,
            apps: (0..apps).map(|_| App::Asks).collect(),
            threads: (0..apps).map(|_| app_thread()).collect(),
            interrupted: vec![false; apps],
            killed: vec![false; apps],
        };
        let change = model.state.watch(now);
        model.set_timer(change);
        model
    }

    fn set_timer(&mut self, change: TimerChange) {
        let at = match change {
            TimerChange::Keep => return,
            TimerChange::Arm(after) => Some(self.now + after),
            TimerChange::Disarm => None,
        };
        self.timer = FakeTimer { at, fired: false };
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.timer.at.is_some_and(|at| at <= self.now) {
            self.timer = FakeTimer { at: None, fired: true };
        }
    }

    fn park(&mut self, runtime: Box<LocalRuntime>) {
        self.state.park(runtime);
        self.parked_at = self.now;
        let change = self.state.watch(self.now);
        self.set_timer(change);
    }

    fn wake(&mut self, woken: &Arc<AppThreadHandle>) {
        let index = self.threads.iter().position(|thread| Arc::ptr_eq(thread.handle(), woken)).unwrap();
        if matches!(self.apps[index], App::Idle) {
            self.apps[index] = App::Asks;
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Time(eighths) => self.pass(TICK / 8 * eighths),
            Step::Job => {
                if let Notify::AppThread(woken) = self.state.push(job(), self.now) {
                    self.wake(&woken);
                }
            }
            Step::App(index) => self.step_app(index % self.apps.len()),
            Step::Interrupt(index) => self.interrupted[index % self.apps.len()] = true,
            Step::Kill(index) => {
                let index = index % self.apps.len();
                self.killed[index] = true;
                self.interrupted[index] = true;
            }
            Step::Standby => self.step_standby(),
            Step::Slow => self.state.make_slow(),
            Step::Fast => self.state.make_fast(),
        }
    }

    fn step_app(&mut self, index: usize) {
        self.apps[index] = match std::mem::take(&mut self.apps[index]) {
            App::Dead => App::Dead,
            App::Busy if self.killed[index] => App::Dead,
            App::Busy => App::Asks,
            App::Drives(runtime) if self.state.ends_app_turn(self.interrupted[index]) => {
                self.park(runtime);
                self.state.app_turns += 1;
                self.ask(index, false)
            }
            App::Drives(runtime) => App::Drives(runtime),
            App::Idle if !self.interrupted[index] && self.state.stop != StopPhase::Stopped => App::Idle,
            App::Idle | App::Asks => self.ask(index, true),
        };
    }

    /// A turn of the loop in `Scheduler::next`.
    fn ask(&mut self, index: usize, may_drive: bool) -> App {
        let handle = Arc::clone(self.threads[index].handle());
        self.state.idle_threads.retain(|idle| !Arc::ptr_eq(idle, &handle));
        if std::mem::take(&mut self.interrupted[index]) {
            return if self.killed[index] { App::Dead } else { App::Asks };
        }
        if self.state.take(&mut self.threads[index], self.now, &Stats::default()).is_some() {
            return App::Busy;
        }
        if !may_drive {
            return App::Asks;
        }
        match self.state.begin_app_turn() {
            Some(runtime) => {
                let change = self.state.watchdog.drive();
                self.set_timer(change);
                App::Drives(runtime)
            }
            None => {
                self.state.request_handover();
                self.state.idle_threads.push(handle);
                App::Idle
            }
        }
    }

    fn step_standby(&mut self) {
        self.standby = match std::mem::replace(&mut self.standby, StandbyThread::Waits) {
            StandbyThread::Waits if std::mem::take(&mut self.timer.fired) => StandbyThread::Woken,
            StandbyThread::Waits => StandbyThread::Waits,
            StandbyThread::Woken => {
                self.state.watchdog.fire(self.now);
                self.look()
            }
            StandbyThread::Drives(runtime) if self.state.ends_standby_turn() => {
                self.park(runtime);
                if let Some(woken) = self.state.idle_threads.pop() {
                    self.wake(&woken);
                }
                self.look()
            }
            StandbyThread::Drives(runtime) => StandbyThread::Drives(runtime),
            StandbyThread::Ended => StandbyThread::Ended,
        };
    }

    /// A turn of the loop in `Scheduler::run_by_timer`.
    fn look(&mut self) -> StandbyThread {
        if self.state.stop != StopPhase::Running {
            return StandbyThread::Ended;
        }
        let late = self.now - self.parked_at >= TICK;
        let was_parked = matches!(self.state.driver, Driver::Parked(_));
        match self.state.look(self.now) {
            Ok(runtime) => {
                assert!(late || self.state.app_latency.is_slow(), "it drives too early");
                let change = self.state.watchdog.drive();
                self.set_timer(change);
                if let Some(woken) = self.state.idle_thread_for_stuck_jobs() {
                    self.wake(&woken);
                }
                StandbyThread::Drives(runtime)
            }
            Err(change) => {
                assert!(!late || !was_parked, "it does not drive");
                self.set_timer(change);
                StandbyThread::Waits
            }
        }
    }

    /// As `Scheduler::stop` does.
    fn stop(&mut self) {
        self.state.stop = StopPhase::Stopping;
        self.set_timer(TimerChange::Arm(Duration::ZERO));
    }

    /// If nothing else happens, will the standby thread look in time?
    fn check(&self) {
        let wakes = match self.standby {
            StandbyThread::Waits => self.timer.fired.then_some(self.now).or(self.timer.at),
            StandbyThread::Ended => None,
            StandbyThread::Woken | StandbyThread::Drives(_) => Some(self.now),
        };
        let limit = match (self.state.stop, &self.state.driver) {
            (StopPhase::Running, Driver::Parked(_)) => (self.parked_at + 2 * TICK).max(self.now),
            (StopPhase::Running, _) => return,
            _ if matches!(self.standby, StandbyThread::Ended) => return,
            _ => self.now,
        };
        assert!(wakes.is_some_and(|wakes| wakes <= limit), "{:?} sleeps: {:?}", self.standby, self.timer);
    }

    /// Lets two ticks pass, twice: in the first two the standby thread may hand over to an app thread that does not come.
    fn wait(&mut self) {
        for _ in 0..2 {
            self.pass(2 * TICK);
            self.settle();
        }
    }

    /// Lets the standby thread do all that it can do now.
    fn settle(&mut self) {
        self.pass(Duration::ZERO);
        (0..4).for_each(|_| {
            self.step_standby();
            self.check();
        });
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..24u32).prop_map(Step::Time),
        4 => Just(Step::Job),
        8 => (0..3usize).prop_map(Step::App),
        4 => Just(Step::Standby),
        1 => (0..3usize).prop_map(Step::Interrupt),
        1 => (0..3usize).prop_map(Step::Kill),
        1 => Just(Step::Slow),
        1 => Just(Step::Fast),
    ]
}

proptest! {
    #[test]
    fn the_standby_thread_drives_within_two_ticks_whatever_the_others_do(
        apps in 1..4usize, before in vec(step(), 0..120), after in vec(step(), 0..20)
    ) {
        let mut model = Model::new(apps);
        for step in &before {
            model.take(step);
            model.check();
        }
        // The app threads take no step for a while.
        model.wait();
        prop_assert!(model.state.is_driven());

        // The standby thread ends soon, and every driver looks at the end of what it is doing.
        model.stop();
        for step in &after {
            model.take(step);
            model.check();
        }
        (0..apps).for_each(|index| model.step_app(index));
        model.settle();
        prop_assert!(matches!(model.standby, StandbyThread::Ended));
        prop_assert!(!model.state.is_driven());
    }

    /// The standby thread is the only one, from the start or after all others were killed.
    #[test]
    fn the_standby_thread_keeps_driving_without_app_threads(steps in vec(step(), 0..60)) {
        let mut model = Model::new(1);
        model.take(&Step::Kill(0));
        for step in &steps {
            model.take(step);
            model.check();
        }
        (0..4).for_each(|_| model.step_app(0));
        model.wait();
        prop_assert!(matches!(model.standby, StandbyThread::Drives(_)));
    }
}
