# frozen_string_literal: true

require "socket"
require_relative "../../errors"
require_relative "../listener"
require_relative "../socket_file"

module PushServer
  module Endpoint
    # unix:///path?mode=0660: a Unix socket. In the path, %XX stands for a byte, as in any URL.
    class Unix
      URL = %r{\Aunix://(?<path>/[^?#]*[^/?#])(?:\?(?<query>[^#]*))?\z}n
      WANTED = "give unix:///path, such as unix:///run/app.sock; the path is absolute"
      MODE = /\Amode=(.*)\z/n
      OCTAL = /\A0?[0-7]{3}\z/
      # Of sun_path, which ends with a NUL: 107 bytes on Linux, 103 on macOS. Two bytes of the address are its family.
      LONGEST_PATH = Socket.sockaddr_un("/").bytesize - 3
      BACKLOG = 1024
      # How often, and in which interval in seconds, the lock on the folder is asked for.
      LOCK_ATTEMPTS = 100
      LOCK_INTERVAL = 0.01
      private_constant :URL, :WANTED, :MODE, :OCTAL, :LONGEST_PATH, :BACKLOG, :LOCK_ATTEMPTS, :LOCK_INTERVAL

      # @return [String] an absolute path
      attr_reader :path
      # @return [Integer, nil] the file's permissions; nil: as the umask has them
      attr_reader :mode

      # @param url [String] unix:///path or unix:///path?mode=0660
      # @raise [OptionError]
      def self.parse(url, **)
        refuse = ->(reason) { raise OptionError, "cannot listen on #{url.inspect}: #{reason}" }
        refuse.call("abstract sockets are not supported; #{WANTED}") if url.match?(%r{\Aunix:(//)?@})
        match = URL.match(url.b) or refuse.call(WANTED)
        path = match[:path].gsub(/%(\h\h)/n) { $1.hex.chr }.force_encoding(Encoding::UTF_8)
        refuse.call(WANTED) if path.include?("\0")
        too_long(path)&.then(&refuse)
        new(path, match[:query] && mode(match[:query], refuse))
      end

      # @return [String, nil] why no socket can have this path
      def self.too_long(path)
        return unless path.bytesize > LONGEST_PATH

        "the path has #{path.bytesize} bytes, but a socket's path can have at most #{LONGEST_PATH}"
      end

      def self.mode(query, refuse)
        mode = query[MODE, 1] or refuse.call("after ? it can only have mode=, such as mode=0660")
        OCTAL.match?(mode) ? mode.oct : refuse.call("mode has three octal digits, such as 0660")
      end
      private_class_method :mode

      def initialize(path, mode = nil)
        @path = path.dup.freeze
        @mode = mode
        freeze
      end

      # Makes the socket and its file, and listens. The file of a server that has ended is replaced.
      # @return [Array<Listener>]
      # @raise [BindError]
      def open
        Unix.too_long(path)&.then { |reason| raise BindError, "cannot listen on #{self}: #{reason}" }
        in_turn do
          remove_stale_file
          [listen]
        end
      rescue SystemCallError => e
        raise BindError, "cannot listen on #{self}: #{explain(e)}"
      end

      # As for {Tcp}: nothing needs to be done.
      def prepare; end

      # As for {Tcp}: connections are not encrypted.
      def secure(listeners); end

      # @return [Unix] itself: a path is not chosen by the system
      def bound_to(_listeners) = self

      # @return [String] without the mode, which does not make it another place
      def to_s = Listener.unix_url(path)

      private

      # A file whose socket does not listen yet looks like one that a dead server has left. So servers that start at the
      # same moment take turns: each holds a lock on the folder from its look at the file until it listens.
      def in_turn
        folder = lock_folder
        yield
      ensure
        folder&.close
      end

      # Some folders cannot be locked: those that this user may write but not read, and those of some file systems.
      # Another program may hold such a lock for long. Neither must keep the server from starting.
      def lock_folder
        folder = File.open(File.dirname(path))
        attempts = 0
        sleep LOCK_INTERVAL until folder.flock(File::LOCK_EX | File::LOCK_NB) || (attempts += 1) > LOCK_ATTEMPTS
        folder
      rescue SystemCallError
        folder
      end

      # Whether the other server lives is known only by connecting to it. Only a refusal shows that it does not.
      def remove_stale_file
        raise BindError, "cannot listen on #{self}: there is a file of that name that is not a socket" unless
          File.lstat(path).socket?

        probe = Socket.new(:UNIX, :STREAM)
        probe.connect_nonblock(Addrinfo.unix(path), exception: false)
        raise_in_use
      rescue Errno::ECONNREFUSED
        File.unlink(path)
      rescue Errno::ENOENT
        nil # There is none, or no longer.
      rescue Errno::EAGAIN, Errno::EPROTOTYPE
        raise_in_use # Its backlog is full, or it is a socket of another type.
      rescue Errno::EACCES
        raise BindError, "cannot listen on #{self}: the socket #{path} may be in use, and this user may not connect to it"
      ensure
        probe&.close
      end

      def raise_in_use = raise(BindError, "cannot listen on #{self}: the socket #{path} is in use by another process")

      # No client can connect before the socket listens, so the file has its mode when the first client comes. The umask is
      # left alone: it belongs to the whole process, in which other threads make files. A temporary name that is renamed
      # would stay the name that the system shows, for example in `ss -xl`.
      def listen
        socket = Socket.new(:UNIX, :STREAM)
        socket.bind(Addrinfo.unix(path))
        file = SocketFile.new(path)
        File.chmod(mode, path) if mode
        socket.listen(BACKLOG)
        listener = Listener.unix(socket, path, file: file)
      ensure
        unless listener
          file&.remove
          socket&.close
        end
      end

      def explain(error)
        folder = File.dirname(path)
        case error
        when Errno::ENOENT, Errno::ENOTDIR
          File.directory?(folder) ? "the folder #{folder} can have no sockets" : "there is no folder #{folder}"
        when Errno::EACCES, Errno::EPERM then "this user may not open the folder #{folder} and make a file in it"
        when Errno::EROFS then "#{folder} is on a file system that is read-only"
        when Errno::EADDRINUSE then "another process makes a file of that name now"
        else error.message
        end
      end
    end
  end
end
