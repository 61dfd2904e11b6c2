# frozen_string_literal: true

require "fileutils"
require "json"
require "rbconfig"
require "socket"
require "tmpdir"
require_relative "deadline"
require_relative "event_log"
require_relative "process_cost"
require_relative "process_tree"
require_relative "remote_control"
require_relative "tls_address"
require_relative "transport"

# An app under test in its own process: a config.ru or a Ruby script, which is written to a temporary folder and started as a user
# would start it. Its output is collected by lines. Lines of spec_app.rb become events and replies (see SpecApp).
class AppProcess
  ROOT = File.expand_path("../..", __dir__)
  LISTENING = %r{Listening on (?<url>unix://(?<path>[^\s?]+)|https?://(?<host>\[[^\]]+\]|[^\s:/]+):(?<port>\d+))}
  # Seconds for an app to stop, with its drain timeout. Then it is killed.
  STOP_PATIENCE = 30

  # With SPEC_WORKERS=2, apps that the command push_server starts have that many workers.
  WORKERS = ENV.key?("SPEC_WORKERS") ? ["-w", ENV.fetch("SPEC_WORKERS")].freeze : [].freeze

  # How each kind of app is started: the command for a file, an address to bind, and further options. rackup knows only TCP; a
  # Ruby script chooses its address itself, and so does a configuration file.
  COMMANDS = {
    cli: ->(file, bind, options) { [RbConfig.ruby, File.join(ROOT, "exe/push_server"), "-b", bind, *WORKERS, *options, file] },
    configured: ->(file, _, options) { [RbConfig.ruby, File.join(ROOT, "exe/push_server"), *options, file] },
    rackup: ->(file, _, options) { [RbConfig.ruby, AppProcess.rackup, "-o", "127.0.0.1", "-p", "0", *options, file] },
    ruby: ->(file, _, options) { [RbConfig.ruby, file, *options] }
  }.freeze

  class << self
    # All apps that have not ended yet.
    def running = (@running ||= [])

    # Starts an app and waits until it listens.
    def start(source, *options, **how)
      app = new(source, *options, **how)
      app.wait_until_listening
      app
    rescue StandardError
      app&.kill
      raise
    end

    # The rackup command of the Rack in use.
    def rackup
      Gem.bin_path("rackup", "rackup")
    rescue Gem::Exception
      Gem.bin_path("rack", "rackup")
    end
  end

  # address: the Addrinfo that clients connect to. port: its number, nil for a Unix socket.
  attr_reader :dir, :pid, :address, :port, :url, :events

  # source: the text of the app. files: further files of its folder, name => text. via: a key of COMMANDS. dir: run in
  # this existing folder, where `source` is then the name of a file. transport: :tcp, :unix or :tls; see Transport.
  def initialize(source, *options, via: :cli, env: {}, files: {}, dir: nil, transport: Transport.default)
    @temporary = []
    @dir = dir || temporary_folder
    name = via == :ruby ? "app.rb" : "config.ru"
    file = dir ? source : write(files.merge(name => source))
    @lines = []
    @mutex = Mutex.new
    @printed = ConditionVariable.new
    @events = EventLog.new
    launch(COMMANDS.fetch(via).call(file, bind(transport), options.map(&:to_s)), env)
    @remote = RemoteControl.new(@stdin)
    self.class.running << self
  end

  def wait_until_listening
    match = LISTENING.match(wait_for_line(LISTENING))
    @url = match[:url]
    @port = match[:port] && Integer(match[:port])
    @address = match[:path] ? Addrinfo.unix(match[:path]) : Addrinfo.tcp(match[:host].delete("[]"), @port)
    @address = TlsAddress.of(@address) if @url.start_with?("https")
  end

  # Waits for a line of output that matches, and returns the first one.
  def wait_for_line(pattern, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    @mutex.synchronize do
      loop do
        line = @lines.find { |candidate| pattern.match?(candidate) }
        return line if line
        raise Deadline::Missed, "the process ended without printing #{pattern.inspect}:\n#{@lines.join}" if @output_ended
        raise Deadline::Missed, "the process did not print #{pattern.inspect}:\n#{@lines.join}" if deadline.passed?

        @printed.wait(@mutex, deadline.remaining)
      end
    end
  end

  # The lines printed so far, without events and replies.
  def lines = @mutex.synchronize { @lines.dup }
  def output = lines.join

  # Runs Ruby code in the app's process, on a thread that does not belong to the server, and returns its value as JSON transfers it.
  # id: the name of a client, which is `client` in the code.
  def ask(code, id: nil, **deadline) = @remote.ask(code, id: id, **deadline)

  def signal(name) = Process.kill(name, @pid)

  # Waits for the process to end.
  def wait(seconds: STOP_PATIENCE)
    @waiter.join(seconds) or raise Deadline::Missed, "process #{@pid} did not end; its output:\n#{output}"
    @reader.join
    @waiter.value
  ensure
    forget unless @waiter.alive?
  end

  # Sends TERM and returns the exit status. Kills an app that does not stop, which is an error.
  def stop
    signal("TERM") if running?
    wait
  rescue Errno::ESRCH
    wait
  rescue Deadline::Missed
    kill
    raise
  end

  # Ends it, and the processes that it has started, as far as they are in its group: they share its output.
  def kill
    Process.kill("KILL", -@pid)
  rescue Errno::ESRCH
    nil # It has ended by itself.
  ensure
    wait
  end

  def running? = @waiter.alive?

  # Resident memory in KiB; nil without /proc.
  def resident = memory("VmRSS")

  # The most that it ever was.
  def peak_resident = memory("VmHWM")

  def memory(name)
    File.read("/proc/#{@pid}/status")[/^#{name}:\s+(\d+)/, 1]&.to_i
  rescue Errno::ENOENT
    nil
  end

  # The processes of a server with workers.
  def tree = @tree ||= ProcessTree.new(@pid)

  # Its open descriptors: number => target. See ProcessCost.
  def descriptors = ProcessCost.descriptors(@pid)

  private

  # The path of a Unix socket has at most 107 bytes, so the socket gets its own folder instead of the app's. An app may
  # change its user before the server binds.
  def bind(transport)
    return "tcp://127.0.0.1:0" if transport == :tcp
    return "ssl://127.0.0.1:0?#{CertificateAuthority.localhost.query}" if transport == :tls

    "unix://#{temporary_folder.tap { |folder| File.chmod(0o777, folder) }}/server.sock"
  end

  def temporary_folder = Dir.mktmpdir("push_server-spec").tap { |folder| @temporary << folder }

  def write(files)
    files.each do |name, text|
      path = File.join(@dir, name)
      FileUtils.mkdir_p(File.dirname(path))
      File.binwrite(path, text)
    end
    files.keys.last
  end

  def launch(command, env)
    child_stdin, @stdin = IO.pipe
    stdout, child_stdout = IO.pipe
    @pid = spawn(environment.merge(env), *command, chdir: @dir, pgroup: true,
                                                   in: child_stdin, out: child_stdout, err: child_stdout)
    [child_stdin, child_stdout].each(&:close)
    @waiter = Process.detach(@pid)
    @reader = Thread.new { collect(stdout) }
  end

  def environment
    unset = %w[PORT APP_ENV RAILS_ENV RAILS_MAX_THREADS WEB_CONCURRENCY RACKUP_HANDLER RACK_HANDLER].to_h { |name| [name, nil] }
    path = [File.join(ROOT, "lib"), File.join(__dir__, "app"), ENV.fetch("RUBYLIB", nil)].compact.join(":")
    unset.merge("RACK_ENV" => "test", "RUBYLIB" => path)
  end

  def collect(output)
    output.each_line { |line| sort(line.scrub) }
  ensure
    @events.finish
    @remote.finish
    @mutex.synchronize do
      @output_ended = true
      @printed.broadcast
    end
  end

  def sort(line)
    case line
    when /EVENT (\{.*\})$/ then @events.add(JSON.parse($1, symbolize_names: true))
    when /REPLY (\{.*\})$/ then @remote.reply(JSON.parse($1, symbolize_names: true))
    else keep(line)
    end
  rescue JSON::ParserError
    # Two processes have written into one line: a forked child shares the output. The output must still be read, or the app would block
    # when it writes.
    keep(line)
  end

  def keep(line)
    @mutex.synchronize do
      @lines << line
      @printed.broadcast
    end
  end

  def forget
    self.class.running.delete(self)
    @stdin.close unless @stdin.closed?
    @temporary.each { |folder| FileUtils.rm_rf(folder) }
  end
end
