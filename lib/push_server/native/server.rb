# frozen_string_literal: true

# Documentation of native methods: see client.rb.
module PushServer
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
    #   @param settings [Hash{Symbol => Object}] see {Options#settings}. With `fan_out: false`, which that never returns,
    #     each stream is woken to send. Only tests use this, to compare; clients get the same
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
    #   @return [Array<Array(String, String, Integer, Integer)>] of each certificate that clients get, also of those of issuers:
    #     its file, what it is for, and from when until when it is valid, in seconds since 1970
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
    #   Runs requests and callbacks in the current thread. Any number of threads may call it.
    #   @return [Boolean] true if there are more threads than needed, because a body that lasted has ended; false if the
    #     server has stopped

    # @!method drain(seconds, restarts)
    #   Stops accepting, and waits until what is open has ended.
    #   @param seconds [Integer, Float] how long at most
    #   @param restarts [Boolean] whether another server follows: WebSockets are closed with 1012, and not with 1001
    #   @return [Boolean] whether everything has ended in time

    # @!method await_shortage
    #   Waits until a response body has occupied a thread for long.
    #   @return [Boolean] true if another thread is needed, false if the server stops

    # @!method threads_left=(count)
    #   Tells the core how many threads of the app there are, when the system gives no more. Requests are refused if none is
    #   left.
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
end
