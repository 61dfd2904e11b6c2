# frozen_string_literal: true

module PushServer
  # The keys of TLS session tickets, with which clients resume their sessions. They lie in a memory file, which the processes of
  # a server share, and which outlives a restart. One process makes new keys. One thread at a time.
  class TicketKeys
    # Seconds between two looks whether it is time for a new key.
    INTERVAL = 60
    private_constant :INTERVAL

    # @return [IO] the memory file
    attr_reader :file
    # @return [NativeTicketKeys]
    attr_reader :native

    # The keys in a file of another process, which only reads them.
    # @param file [IO]
    # @raise [IOError] if it cannot be read
    def self.shared(file) = allocate.tap { |keys| keys.__send__(:open, file) }

    # @param former [Integer, nil] the descriptor of a file that was handed over; see {#handover}
    def initialize(former = nil)
      resume(former) if former
      open(IO.for_fd(NativeProcess.memory_file("push_server_ticket_keys", NativeTicketKeys::SIZE), "r+b")) unless native
      renew
    end

    # What another one needs to go on after an exec.
    # @return [IO]
    def handover = file

    # Makes new keys from now on. Not for {.shared} keys.
    # @param loop [EventLoop] on whose thread that happens
    def start(loop) = loop.every(INTERVAL) { renew }

    # Makes a new key, if it is time for one.
    def renew
      native.renew
    rescue IOError => e
      PushServer.log(:warn, "there is no new key for TLS session tickets: #{e.message}")
    end

    private

    def open(file)
      @native = NativeTicketKeys.open(file.fileno)
      @file = file
    end

    # A file of another version is left: clients begin new sessions.
    def resume(former)
      file = IO.for_fd(former, "r+b")
      open(file)
    rescue IOError
      file.close
    end
  end
end
