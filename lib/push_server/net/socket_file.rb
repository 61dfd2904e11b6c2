# frozen_string_literal: true

module PushServer
  # The file of a Unix socket that this process has made. One thread at a time.
  class SocketFile
    # The file of a socket that another process has made, or this one before it executed itself anew.
    # @param device [Integer]
    # @param inode [Integer]
    def self.known(path:, device:, inode:) = new(path, [device, inode])

    # To be called right after the socket was bound to this path.
    def initialize(path, identity = nil)
      @path = path
      @pid = Process.pid
      @identity = identity || current
    end

    # @return [Hash{Symbol => Object}] for {.known}
    def description = { path: @path, device: @identity&.first, inode: @identity&.last }

    # Removes the file, unless another server has put its own in its place, or this is a forked child. Later calls do
    # nothing. The socket must still be open: as long as it is, the system gives its inode to no other file.
    def remove
      return if @identity.nil? || Process.pid != @pid

      File.unlink(@path) if current == @identity
    rescue Errno::ENOENT
      nil # Another program has removed it.
    rescue SystemCallError => e
      PushServer.log(:warn, "cannot remove the socket's file: #{e.message}")
    ensure
      @identity = nil
    end

    private

    def current = File.lstat(@path).then { |file| [file.dev, file.ino] }
  end
end
