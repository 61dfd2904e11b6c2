# frozen_string_literal: true

require "digest"
require "socket"
require_relative "../errors"
require_relative "../log"
require_relative "../net/endpoint/unix"

module PushServer
  # Where the two Unix sockets of a server are: `control`, to which the commands connect, and `publish`, to which processes
  # without a server connect to publish. Both ends ask this class, so that they agree.
  #
  # The default place is `tmp/sockets/push_server.<kind>.sock` in the app's folder. If the folder has no usable `tmp`, or if
  # the path is too long for a socket, the place is in the user's runtime directory, and a hash of the app's folder is in
  # the name. One thread at a time.
  class SocketPlaces
    # The environment variable that names the publish socket, for processes without a server: its path, as a path or as
    # unix:///path, or the folder of the app.
    VARIABLE = "PUSH_SERVER_HUB"
    # Longer paths are not used, since some systems allow 103 bytes.
    LONGEST_PATH = 100
    # Only the user of the server may control it.
    CONTROL_MODE = 0o600
    # Of the publish socket, if no option says otherwise.
    PUBLISH_MODE = 0o600
    # Where the folder for the sockets is made if there is no $XDG_RUNTIME_DIR.
    SHARED_FOLDER = "/tmp"
    private_constant :SHARED_FOLDER

    # The current folder as the user has typed it. If it was reached by a symlink, such as Capistrano's `current`, this is the
    # symlink, which stays the same when it is changed to another release.
    # @return [String]
    def self.current_folder(env = ENV)
      typed = env["PWD"]
      typed&.start_with?("/") && File.identical?(typed, ".") ? File.expand_path(typed) : Dir.pwd
    end

    # The places of a server with these options.
    # @param options [Options]
    def self.for(options)
      folder = options.to_h[:directory] || current_folder
      new(folder, control: options[:control_socket], publish: options[:publish_socket],
                  publish_mode: options[:publish_socket_mode])
    end

    # The places to which a process without a server connects.
    # @param env [#[]] the environment variables
    # @raise [Error] if the variable has no meaning
    def self.for_outsiders(env = ENV)
      value = env[VARIABLE].to_s
      return new(current_folder(env), env: env) if value.empty?

      path = File.expand_path(value.delete_prefix("unix://"))
      return new(path, env: env) if File.directory?(path)

      new(current_folder(env), publish: path, env: env)
    end

    # @return [String] the app's folder
    attr_reader :folder

    # @param folder [String] the app's folder, as its user typed it
    # @param control [:default, String, nil] the path of the control socket; nil: there is none
    # @param publish [:default, String, nil] the path of the publish socket; nil: there is none
    # @param publish_mode [Integer] the permissions of the publish socket
    # @param env [#[]] the environment variables
    def initialize(folder, control: :default, publish: :default, publish_mode: PUBLISH_MODE, env: ENV)
      @folder = File.expand_path(folder)
      @given = { control: control, publish: publish }
      @modes = { control: CONTROL_MODE, publish: publish_mode }
      @env = env
    end

    # Whether there is to be a socket of this kind.
    def on?(kind) = !@given.fetch(kind).nil?

    # Makes the socket of a server, and listens. The file of a server that has ended is replaced, that of a running one never
    # is. Logs a line if the place is not the usual one.
    # @param kind [:control, :publish]
    # @return [Listener, nil] nil if there is to be none
    # @raise [BindError] for example if another server runs in the same folder
    def open(kind)
      return unless on?(kind)

      Endpoint::Unix.new(place(kind), @modes.fetch(kind)).open.first
    rescue BindError => e
      raise BindError, "there is no #{kind} socket: #{e.message.sub(/\Acannot listen on /, "")}. #{advice(kind)}"
    end

    # The places at which a socket of this kind may be, the most likely one first. The server has one of them; which one may
    # depend on variables of its environment that this process does not have.
    # @return [Array<String>] paths; empty if there is to be none
    def candidates(kind)
      case (given = @given.fetch(kind))
      when nil then []
      when String then [given]
      else [app_path(kind), *runtime_paths(kind)].compact
      end
    end

    # @param kind [:control, :publish]
    # @param url [String] of the socket
    # @return [String] its place in an {Inheritance}
    def self.known_as(kind, url) = "#{kind} #{url}"

    # @return [Array<String>] the {candidates}, as an {Inheritance} knows them
    def known_as(kind) = candidates(kind).map { |path| SocketPlaces.known_as(kind, Listener.unix_url(path)) }

    # Connects to the server's socket.
    # @return [UNIXSocket]
    # @raise [Error] if no server listens there
    def connect(kind)
      failures = candidates(kind).map do |path|
        return UNIXSocket.new(path)
      rescue SystemCallError, ArgumentError => e
        # ArgumentError: the path is too long for a socket.
        [path, e]
      end
      raise Error, unreachable(kind, failures)
    end

    # Why a process finds no server, in one line, and what to do.
    # @param failures [Array<(String, Exception)>] paths, and what connecting to each raised
    # @return [String]
    def unreachable(kind, failures)
      # The first failure that shows that there is a socket; or else the first one.
      path, error = failures.find { |_, raised| !raised.is_a?(Errno::ENOENT) } || failures.first
      return "there is no #{kind} socket: it is off" unless path

      "no server of #{folder} listens on #{path} (#{reason(error)})"
    end

    private

    def reason(error)
      case error
      when Errno::ENOENT, Errno::ENOTDIR then "there is no such file"
      when Errno::ECONNREFUSED then "the server that made this file has ended"
      when Errno::EACCES, Errno::EPERM then "this user may not connect to it"
      else error.message
      end
    end

    def advice(kind)
      "Give this server another place with the option #{kind}_socket, or switch the socket off with #{kind}_socket=off"
    end

    # The one place at which a server makes its socket.
    def place(kind)
      given = @given.fetch(kind)
      return given if given.is_a?(String)

      path = app_path(kind)
      return path if path && usable?(File.dirname(path))

      File.join(runtime_folder, name(kind)).tap { |other| tell(kind, other) }
    end

    # Many programs have no folder tmp. Both ends find the other place by themselves then, so the line is for debugging.
    def tell(kind, path)
      PushServer.log(File.exist?(tmp) ? :info : :debug, "the #{kind} socket is #{path}, because #{objection(kind)}")
    end

    # In the app's folder; nil if it cannot be there.
    def app_path(kind)
      return if objection_to_path(kind) || !trusted?(tmp) || File.world_writable?(File.dirname(in_app(kind)))

      in_app(kind)
    end

    def tmp = File.join(folder, "tmp")

    def in_app(kind) = File.join(tmp, "sockets", "push_server.#{kind}.sock")

    def objection_to_path(kind)
      "the path #{in_app(kind)} has more than #{LONGEST_PATH} bytes" if in_app(kind).bytesize > LONGEST_PATH
    end

    # Why the socket cannot be in the app's folder.
    def objection(kind)
      objection_to_path(kind) ||
        if !File.directory?(tmp) then "there is no folder #{tmp}"
        elsif !trusted?(tmp) then "every user may write to #{tmp}"
        else "this user cannot make a socket in #{File.dirname(in_app(kind))}"
        end
    end

    # A folder in which every user may make files could have the socket of another user, as /tmp could for an app in /.
    def trusted?(folder) = File.directory?(folder) && !File.world_writable?(folder)

    # Makes the folder for the sockets, if it is missing.
    def usable?(folder)
      Dir.mkdir(folder) unless File.directory?(folder)
      trusted?(folder) && File.writable?(folder)
    rescue Errno::EEXIST
      retry if File.directory?(folder) # Another server has made it meanwhile.
      false
    rescue SystemCallError
      false
    end

    # The app's folder is in the name, since one user may have many apps.
    def name(kind) = "push_server-#{Digest::SHA256.hexdigest(folder)[0, 12]}.#{kind}.sock"

    # @return [String] a folder to which no other user can write
    # @raise [BindError]
    def runtime_folder
      given = @env["XDG_RUNTIME_DIR"].to_s
      return given if private?(given)

      shared = shared_runtime_folder
      begin
        Dir.mkdir(shared, 0o700)
      rescue Errno::EEXIST
        nil
      end
      return shared if private?(shared)

      raise BindError, "#{shared} belongs to another user, or others may write to it"
    rescue SystemCallError => e
      raise BindError, "this user cannot make the folder #{shared}: #{e.message}"
    end

    def shared_runtime_folder = "#{SHARED_FOLDER}/push_server-#{Process.euid}"

    # The runtime directories in which a server of this user may have its socket. A server that systemd has started has no
    # $XDG_RUNTIME_DIR, while a shell has one; a cron job has none, while its server may have one.
    def runtime_paths(kind)
      folders = [@env["XDG_RUNTIME_DIR"].to_s, "/run/user/#{Process.euid}", shared_runtime_folder]
      folders.uniq.select { |folder| private?(folder) }.map { |folder| File.join(folder, name(kind)) }
    end

    # Whether it is a folder of this user in which no other user can make files.
    def private?(folder)
      return false unless folder.start_with?("/")

      status = File.lstat(folder)
      status.directory? && status.owned? && status.mode.nobits?(0o022)
    rescue SystemCallError
      false
    end
  end
end
