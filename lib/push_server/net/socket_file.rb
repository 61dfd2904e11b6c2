# frozen_string_literal: true

module PushServer
  # The file of a Unix socket that this process has made. One thread at a time.
  class SocketFile
    # To be called right after the socket was bound to this path.
    def initialize(path)
      @path = path
      @pid = Process.pid
      @identity = identity
    end

    # Removes the file, unless another server has put its own in its place, or this is a forked child. Later calls do
    # nothing. The socket must still be open: as long as it is, the system gives its inode to no other file.
    def remove
      return if @identity.nil? || Process.pid != @pid

      File.unlink(@path) if identity == @identity
    rescue Errno::ENOENT
      nil # Another program has removed it.
    rescue SystemCallError => e
      PushServer.log(:warn, "cannot remove the socket's file: #{e.message}")
    ensure
      @identity = nil
    end

    private

    def identity = File.lstat(@path).then { |file| [file.dev, file.ino] }
  end
end
