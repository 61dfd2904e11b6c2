# frozen_string_literal: true

# Documentation of native methods: see client.rb.
module PushServer
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
    #   @param statistics [Integer] the descriptor of the memory file in which all processes count
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
end
