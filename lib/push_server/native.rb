# frozen_string_literal: true

# The documentation of the native methods and constants, which ext/push_server defines. YARD reads this file; nothing
# loads it.
# spec/unit/documentation_spec.rb checks that it names all native methods and constants, and no others.
module PushServer
  # One push connection: a WebSocket, an event stream, or a series of long polls. The server makes it and gives the same
  # object to all callbacks. The object may outlive its connection. All methods may be called from any thread; none waits
  # for the network. In a forked child they do nothing, and {#write} returns false.
  class Client
    # @!method write(data, event: nil, id: nil, retry: nil, compress: true)
    #   Queues a message. UTF-8 is text; ASCII-8BIT is bytes. The keywords except `compress` are the fields of a Server-Sent
    #   Event; a WebSocket ignores them.
    #   @param data [String]
    #   @param event [String, nil] the event's name; nil is none; by default, that of the option sse_event
    #   @param id [String, nil] the event's id
    #   @param retry [Integer, nil] milliseconds after which an EventSource connects again
    #   @param compress [Boolean] whether a WebSocket may get it compressed, with the option websocket_compression
    #   @return [Boolean] false if the client is closed or closing, or too slow: then nothing is queued
    #   @raise [TypeError] for data that is not a String
    #   @raise [ArgumentError] for text that is not valid UTF-8, and for a field that is not valid

    # @!method pending
    #   @return [Integer] how many writes wait for the network; -1 when the client is closed

    # @!method close(code = 1000, reason = nil)
    #   Sends what is queued, then closes the connection. Later calls change nothing. RFC 6455 section 7.4 has the codes;
    #   an event stream has none and just ends.
    #   @param code [Integer, nil] 1000, 1001, 1003, 1007 to 1014, or 3000 to 4999
    #   @param reason [String, nil] at most 123 bytes of UTF-8
    #   @return [nil]
    #   @raise [ArgumentError] for another code or reason

    # @!method open?
    #   @return [Boolean] false as soon as one of the two sides has begun to close

    # @!method env
    #   @return [Hash, nil] the Rack env of the request, without the entries that only the request needed; nil after `on_close`

    # @!method last_event_id
    #   @return [String, nil] the cursor in the request: its `Last-Event-ID`, or `last_event_id` in its query

    # @!method close_code
    #   @return [Integer, nil] the code of the end, RFC 6455 section 7.4; nil before the end, and for event streams

    # @!method close_reason
    #   @return [String, nil] the reason of the end; nil if {#close_code} is nil

    # @!method protocol
    #   @return [Symbol] :websocket or :sse; a long poll is :sse

    # @!method handler
    #   @return [Object] the object whose callbacks are called

    # @!method handler=(handler)
    #   Gives the connection another handler, after the events that wait; within a callback of the same client, when that
    #   returns. The old handler gets `on_close`, then the new one `on_open`.
    #   @param handler [Object] each callback is optional

    # @!method timeout
    #   @return [Integer, Float, nil] seconds of silence before a ping, or a comment on an event stream; nil is never

    # @!method timeout=(seconds)
    #   Sets {#timeout} for this client.
    #   @param seconds [Integer, Float, nil] nil is never
    #   @raise [TypeError] for something that is not a number
    #   @raise [ArgumentError] for 0 or less

    # @!method [](key)
    #   @return [Object, nil] the value that {#[]=} has stored

    # @!method []=(key, value)
    #   Stores a value with the connection, for the app.

    # @!method pubsub?
    #   @return [true] clients can subscribe; apps for Iodine ask

    # @!method recovered?
    #   @return [Boolean, nil] whether it got all messages that it had missed; nil on a first visit

    # @!method inspect
    #   @return [String] its protocol, address and state

    # @!method to_s
    #   @return [String] as {#inspect}
  end

  # The native server of one process. {Service} runs it. Its methods may be called from any thread. None blocks with the GVL
  # (Ruby's global lock): what waits releases it, and ends when Ruby interrupts the thread, such as for a signal. In a forked
  # child they do nothing, and {#listen} and {#start} raise {Error}.
  # @api private
  class NativeServer
    # @!parse
    #   # A row for each limit and timeout (src/base/limits.rs): name, default, bounds, unit, documentation.
    #   LIMITS = [].freeze
    #   # A row for each number that is counted (src/base/stats.rs), by its name: kind (counter, gauge, maximum), unit,
    #   # documentation.
    #   STATISTICS = {}.freeze
    #   # The metrics of a server, each with its `name`, `type`, `labels` and `help` (src/metrics/families.rs).
    #   METRICS = [].freeze
    #   # What each histogram is about, by its name.
    #   HISTOGRAMS = {}.freeze

    # @!method self.new(app, settings)
    #   @param app [#call]
    #   @param settings [Hash{Symbol => Object}] see {Options#settings}
    #   @raise [ArgumentError] for a setting that is not valid

    # @!method self.log_level=(level)
    #   Sets the lowest level that the core logs.
    #   @param level [String] debug, info, warn or error
    #   @raise [ArgumentError] for another one

    # @!method self.machine
    #   What depends on the machine or its container: `memory`, in bytes, and the defaults of `max_queued_total` and
    #   `max_spooled_total` for a process that has the machine to itself.
    #   @return [Hash{Symbol => Integer, nil}] nil if the system does not tell

    # @!method listen(fileno, template)
    #   Accepts connections from a listening socket, of which it takes a duplicate. Before {#start}, connections wait in
    #   the backlog; afterwards they are accepted at once.
    #   @param fileno [Integer] a stream socket of IPv4, IPv6 or the Unix family that listens
    #   @param template [Hash] the entries that the env of each request has
    #   @return [Integer] the listener's id, for {#retire}
    #   @raise [IOError] for another kind of descriptor, and once the server drains

    # @!method self.check_tls(content)
    #   Checks certificates and keys.
    #   @param content [Hash{Symbol => Object}] see {Certificates#content}
    #   @raise [ArgumentError] if no listener can use them

    # @!method listen_tls(fileno, template, content, keys)
    #   As {#listen}; connections are encrypted.
    #   @param content [Hash{Symbol => Object}] see {Certificates#content}
    #   @param keys [NativeTicketKeys] with which clients resume sessions
    #   @raise [ArgumentError] if the certificates cannot be used

    # @!method renew_tls(id, content, keys)
    #   Replaces what {#listen_tls} was given. Connections that are open keep what they began with.
    #   @param id [Integer] what {#listen_tls} returned
    #   @return [Boolean] false if there is no such listener
    #   @raise [ArgumentError] if the certificates cannot be used: then nothing changes

    # @!method retire(id)
    #   Ends a listener. Connections that clients have made already are served, also those in the backlog. When this
    #   returns, the duplicate is closed. Waits for a turn of the reactor; nothing interrupts that.
    #   @param id [Integer] what {#listen} returned
    #   @return [Boolean] false if there is no such listener

    # @!method publish_from(fileno)
    #   Publishes what processes without a server send to a listening socket, of which it takes a duplicate. Before {#start},
    #   once. It ends when the server drains.
    #   @param fileno [Integer] a stream socket of the Unix family that listens
    #   @raise [IOError] if the system refuses

    # @!method serve_metrics(fileno)
    #   Serves metrics on a listening socket, of which it takes a duplicate. Before {#start}. It ends when the server stops.
    #   @param fileno [Integer] a stream socket that listens
    #   @raise [IOError] if the system refuses

    # @!method start
    #   Starts the reactor's threads.
    #   @raise [Error] if the system gives no more threads

    # @!method work
    #   Runs requests and callbacks in the current thread, which becomes a worker. Any number of threads may call it.
    #   @return [Boolean] true if there are more workers than needed, because a body that lasted has ended; false if the
    #     server has stopped

    # @!method drain(seconds, restarts)
    #   Stops accepting, and waits until what is open has ended.
    #   @param seconds [Integer, Float] how long at most
    #   @param restarts [Boolean] whether another server follows: WebSockets are closed with 1012, and not with 1001
    #   @return [Boolean] whether everything has ended in time

    # @!method await_shortage
    #   Waits until a response body has occupied a worker for long.
    #   @return [Boolean] true if another worker is needed, false if the server stops

    # @!method workers_left=(count)
    #   Tells the core how many workers there are, when the system gives no more threads. Requests are refused if no worker
    #   is left.
    #   @param count [Integer, nil] nil: the system gives threads again

    # @!method reopen_logs
    #   Makes the core open the file of the access log again. Returns at once.

    # @!method stats
    #   @return [Hash{Symbol => Integer}] the counters; see {PushServer.stats}

    # @!method histograms
    #   @return [Hash{Symbol => Hash}] how long things took; see {PushServer.stats}

    # @!method stop
    #   Closes all connections at once, and ends the calls of {#work}. Waits for the reactor's threads to end; nothing
    #   interrupts that.
  end

  # What several processes have counted, in a memory file that they share. One thread.
  # @api private
  class NativeSlots
    # @!parse
    #   # Bytes of the memory file.
    #   SIZE = 0

    # @!method self.open(fileno)
    #   @param fileno [Integer] a memory file, which may be closed afterwards. If it has only zeros, nobody has counted yet
    #   @return [NativeSlots]
    #   @raise [IOError] if it has the layout of another version, or the system refuses

    # @!method take(process, worker)
    #   Gives a process a slot.
    #   @param process [Integer] its number
    #   @param worker [Integer] the number of the worker
    #   @return [Boolean] false if there is none left

    # @!method release(process)
    #   The process has ended. What it has counted stays in the sums; what it had open is gone.
    #   @param process [Integer]

    # @!method keep(processes)
    #   Calls {#release} for all processes but these.
    #   @param processes [Array<Integer>]

    # @!method count(name)
    #   Adds one to a counter of the supervisor's own.
    #   @param name [Symbol]
    #   @raise [ArgumentError] if there is no such counter

    # @!method enter(process)
    #   From now on, a server that is made in this process counts in the slot of the process.
    #   @param process [Integer]
    #   @return [Boolean] false if it has no slot

    # @!method totals
    #   @return [Hash{Symbol => Object}] see {PushServer.stats}
  end

  # The keys of TLS session tickets, in a memory file that processes share. One of them makes new keys. Any thread may use it;
  # {#renew}, one.
  # @api private
  class NativeTicketKeys
    # @!parse
    #   # Bytes of the memory file.
    #   SIZE = 0

    # @!method self.open(fileno)
    #   @param fileno [Integer] a memory file, which may be closed afterwards. If it has only zeros, there are no keys yet
    #   @return [NativeTicketKeys]
    #   @raise [IOError] if it has the layout of another version, or the system refuses

    # @!method renew
    #   Makes a new key, if there is none or the newest one is old.
    #   @return [nil]
    #   @raise [IOError] if the system gives no random bytes
  end

  # @api private
  module Channels
    # @!method self.define(glob, history, ttl, slow, presence)
    #   See {PushServer.channel}.

    # @!method self.publish(channel, data, event, store, except, binary)
    #   See {PushServer.publish}. `event`: false is the default, nil is none. `binary`: with nil the String's encoding
    #   decides.

    # @!method self.fits?(channel, data, event)
    #   Whether the channels of this process can hold a message with this text: `channel_memory`. Publishes nothing.
    #   @raise [ArgumentError] if {publish} would raise it for another reason

    # @!method self.cursor
    #   See {PushServer.cursor}.

    # @!method self.history(channel, since, limit)
    #   See {PushServer.history}.
    #   @return [Array(Array, Boolean)] an Array for each message (cursor, event, data), and whether none is missing

    # @!method self.present(channel)
    #   See {PushServer.present}.
    #   @return [Hash{String => String}] JSON by member

    # @!method self.names
    #   See {PushServer.channels}.

    # @!method self.disconnect(member)
    #   See {PushServer.disconnect}.

    # @!method self.use_hub(process, generation, workers, settings)
    #   Makes the channels of this process anew, as those of a worker: the hub orders their messages. The rules that the app has
    #   set stay. Connections to the hub come over the {NativeLifeline}. To be called before the server of the process is made.
    #   @param process [Integer] the number of this start of a worker, below 2**20
    #   @param generation [Integer] how often the app was loaded anew
    #   @param workers [Integer] how many workers share `channel_memory`
    #   @param settings [Hash] as for {NativeServer}
    #   @raise [IOError] if the system has no thread to give, or the process has a server

    # @!method self.await_hub(seconds)
    #   Waits for what the hub has kept: before that, no client is to be served. To be called when the app is loaded, since its
    #   rules say which histories this process takes over.
    #   @return [Boolean] whether it has come; true without a hub

    # @!method self.settle(seconds)
    #   Waits until all that this process has published has its number.
    #   @return [Boolean] whether it has

    # @!method self.close_connection
    #   See {Outside.close}.
  end

  # @api private
  module Callbacks
    # @!method self.around=(callable)
    #   Sets the callable that is called in place of each callback, with client, name, handler and arguments.
  end

  # The stream that is given to a Rack 3 body that responds to `call`. The body may use it in any thread.
  class BodyStream
    # @!method read(length = nil, buffer = nil)
    #   Reads the request's body, as `rack.input` does.
    #   @raise [IOError] after {#close_read}

    # @!method write(*parts)
    #   Sends parts of the response. Waits while the client does not read fast enough.
    #   @return [Integer] bytes
    #   @raise [IOError] after {#close_write}
    #   @raise [Disconnected] when the client has disconnected

    # @!method <<(part)
    #   Sends a part, as {#write} does.
    #   @return [self]

    # @!method flush
    #   Does nothing: every part is sent as soon as it is written.
    #   @return [self]

    # @!method close(error = nil)
    #   Closes both sides.

    # @!method close_read
    #   Closes the request's side.

    # @!method close_write
    #   Ends the response.

    # @!method closed?
    #   @return [Boolean] whether both sides are closed
  end

  # The response of one request, in its env: `rack.hijack` and `rack.early_hints`.
  class Answer
    # @!method call(headers = nil)
    #   Without an argument, takes the connection over (`rack.hijack`). With one, sends an informational response 103
    #   (`rack.early_hints`, RFC 8297).
    #   @return [IO, nil] the socket; nil for early hints
    #   @raise [IOError] if the request is answered already
  end

  class Cursor
    # @!method to_s
    #   Waits for the number of its message, if the message has none yet.
    #   @return [String] the cursor as clients send it back, such as `"cc8cae96a686-17"`
    #   @raise [EngineUnavailable] if the message has no number within `publish_timeout`
    #   @raise [ArgumentError] if the hub has refused it: it is longer than the hub accepts
    #   @raise [Error] if it was lost, or if the hub has refused it because there are too many channels

    # @!method self._load(text)
    #   For Marshal.
    #   @api private
    #   @return [Cursor]
    #   @raise [ArgumentError] if the text is not a cursor
  end

  # What Ruby lacks to supervise processes. Any thread.
  # @api private
  module NativeProcess
    # @!method self.become_subreaper
    #   Makes this process the parent of those of its descendants whose own parent ends.
    #   @return [Boolean] false if the system does not have that: only Linux does

    # @!method self.memory_file(name, size)
    #   Makes a file in memory, which has no path and begins with zeroes.
    #   @param name [String] that shows what the file is for, such as in /proc
    #   @param size [Integer] bytes
    #   @return [Integer] its descriptor; the caller owns it
    #   @raise [IOError]

    # @!method self.fork_error
    #   @return [Integer, nil] the system's error, if it would refuse to fork now; nil also where this cannot be found out

    # @!method self.write_stdout(lines)
    #   Writes to descriptor 1, and waits for at most 200 ms. If a pipe is full, the lines are lost; a later line says how
    #   many calls were lost. A file takes all. Never raises.
    #   @param lines [String] with their ends
    #   @return [nil]

    # @!method self.write_stderr(lines)
    #   As {write_stdout}, for descriptor 2.
    #   @param lines [String]
    #   @return [nil]

    # @!method self.log_name=(name)
    #   Puts a name at the beginning of each message that the core logs.
    #   @param name [String, nil] such as "worker 1"
  end

  # The hub's process: it gives the messages of all processes one order. Nothing of it needs Ruby.
  # @api private
  module NativeHub
    # @!parse
    #   # Bytes of the number store.
    #   STORE_SIZE = 4096

    # @!method self.run(link, publish, metrics, store, statistics, settings)
    #   Runs the hub until its supervisor stops it or is gone, or until another hub has taken its log. It takes the supervisor's
    #   lines: `first` or `recover processes=3,4 [handover]` at first; then `worker 3 1` with a connection, `gone 3`, `ping 7`,
    #   `handover` with a connection, and `stop`. It answers `ready` and `pong 7`. Leaves the GVL. One thread, once a process.
    #   @param link [Integer] the descriptor of the Unix stream socket to the supervisor
    #   @param publish [Integer, nil] the descriptor of the listening socket for processes without a server
    #   @param metrics [Array<Integer>] the descriptors of the listening sockets on which it serves metrics
    #   @param store [Integer] the descriptor of a memory file of {STORE_SIZE} bytes, which outlives the hub
    #   @param statistics [Integer] the descriptor of the memory file in which all processes count. It is read for metrics only
    #   @param settings [Hash] the limits, as {Options#settings} makes them
    #   @return [nil]
    #   @raise [ArgumentError] for a negative descriptor, or a setting that cannot be
    #   @raise [IOError] if a descriptor cannot be used
  end

  # Watches over the supervisor of this process, on a native thread that needs nothing of Ruby. When the supervisor is gone, it
  # closes all sockets that listen, gives requests a second to be answered, and ends the process within two seconds, without
  # running Ruby code such as `at_exit`. The log gets one line.
  # @api private
  module NativeLifeline
    # @!method self.start(fileno, name)
    #   Starts to watch. In a forked child, the parent's watch does not count: the child starts its own.
    #   @param fileno [Integer] the socket whose other end only the supervisor has; a duplicate is taken
    #   @param name [String] what the process is called in the log, such as "worker 3"
    #   @return [nil]
    #   @raise [ArgumentError] for a negative descriptor
    #   @raise [IOError] if the descriptor is not open, or the system gives no thread

    # @!method self.stop
    #   Watches no more. Without a watch this does nothing.
    #   @return [nil]
  end

  # A request body's part of `max_spooled_total`.
  # @api private
  class SpoolReservation
    # @!method release
    #   Gives the bytes back.

    # @!method share
    #   For another descriptor of the same file: the bytes count until both are released.
    #   @return [SpoolReservation]
  end
end
