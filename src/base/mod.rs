//! What every layer of the core may use. These files use each other and nothing else of the core.
//!
//! | module | subject |
//! |---|---|
//! | [`context`] | what all parts of one server share |
//! | [`limits`] | every bound and timeout, in one table |
//! | [`stats`] | every counter, in one table |
//! | [`lifecycle`] | whether the server serves, drains or has stopped |
//! | [`in_flight`] | what a drain waits for |
//! | [`ticket_keys`] | the keys of TLS session tickets, which processes share |
//! | [`timers`] | the queue of deadlines |
//! | `timerfd` | a timer of the system |
//! | [`date`] | the Date of responses |
//! | [`wakeups`] | waking tasks of the reactor from other threads |
//! | [`fork`] | whether this process is a forked child of the one that an object belongs to |
//! | [`helper_thread`] | a thread for work that the reactor must not do |
//! | [`disk`] | the one that does all work that may wait for a disk |
//! | [`peers`] | parcels between the processes of one server |
//! | [`process`] | what a supervisor of processes needs from the system |
//! | [`memory`] | how much memory the machine has, and giving it back |
//! | [`lock`] | a mutex and a condition variable without poisoning |
//! | `json` | JSON strings |
//! | [`accept`] | accepting connections on sockets that do not block |
//! | [`lines`] | lines with descriptors over a Unix socket |
//! | [`shared_memory`] | numbers in memory that processes share |
//! | [`log_throttle`] | log lines about events that repeat |
//! | [`open_files`] | the system's limit of open files |
//! | [`output`] | lines for people, on stdout and stderr |

pub mod accept;
pub mod context;
pub mod date;
pub mod disk;
pub mod fork;
pub mod helper_thread;
pub mod in_flight;
pub(crate) mod json;
pub mod lifecycle;
pub mod limits;
pub mod lines;
pub mod lock;
pub mod log_throttle;
pub mod memory;
pub mod open_files;
pub mod output;
pub mod peers;
pub mod process;
pub mod shared_memory;
pub mod stats;
pub mod ticket_keys;
pub(crate) mod timerfd;
pub mod timers;
pub mod wakeups;

pub use context::Context;
