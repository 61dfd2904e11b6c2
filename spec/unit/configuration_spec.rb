# frozen_string_literal: true

require "push_server/config/command_line"
require "push_server/config/configuration"
require "tmpdir"
require_relative "unit_helper"

# What a user decides, from the command line, the environment and the configuration file.
RSpec.describe PushServer::Configuration do
  table = PushServer::Options::TABLE

  # In a folder of its own, and with the environment as it was.
  around do |example|
    former = ENV.to_h
    here = Dir.pwd
    Dir.mktmpdir do |dir|
      Dir.chdir(dir)
      ENV["PWD"] = Dir.pwd
      example.run
    ensure
      Dir.chdir(here)
    end
  ensure
    ENV.replace(former)
  end

  before { allow(PushServer).to receive(:log) { |level, text| logged << "#{level}: #{text}" } }

  let(:logged) { [] }

  def write(text, path = "config/push_server.rb")
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, text)
  end

  # words: a command line.
  def configuration(*words, env: {})
    described_class.new(PushServer::CommandLine.new(words).given, env: env) { |option| option.switches.last }
  end

  def complaint(*words, **how)
    configuration(*words, **how)
    "none"
  rescue PushServer::OptionError => e
    e.message
  end

  # For each type: a value as a String, as Ruby, and one that is wrong.
  samples = {
    binds: ["tcp://127.0.0.1:1", ["tcp://127.0.0.1:1"], ","], bytes: nil, count: ["7", 7, "many"],
    directory: [".", ".", "no/such/folder"], endpoint: ["unix:///x", "unix:///x", "9394"], file: ["a/b", "a/b", nil], flag: ["false", false, "maybe"],
    list: ["https://a,https://b", %w[https://a https://b], nil], location: ["/x.js", "/x.js", "x.js"],
    milliseconds: ["70", 70, "soon"], networks: ["10.0.0.0/8,::1", %w[10.0.0.0/8 ::1], "local"],
    mode: ["0640", 0o640, "rw"], port: ["81", 81, "http"], seconds: ["2.5", 2.5, "soon"],
    secret: ["s" * 16, "s" * 16, "hunter2"],
    socket: ["a/s", "a/s", nil], text: ["name", "name", nil], threads: ["2:7", 7, "many"], title: ["name", "name", nil],
    workers: ["3", 3, "many"]
  }
  sample = lambda do |option|
    next [option.choices.last.to_s, option.choices.last, "nothing"] if option.type == :choice

    if option.type == :bytes # within the bounds
      value = [4096, 65_536, 1 << 21].find { |bytes| option.coerce(bytes) rescue nil } # rubocop:disable Style/RescueModifier
      next [value.to_s, value, "many"]
    end
    next ["3", 3, "many"] if option.type == :count

    samples.fetch(option.type)
  end

  it "has a sample for each type" do
    expect(samples.keys + [:choice]).to match_array(PushServer::Option::TYPES.keys)
  end

  table.each_value do |option|
    text, value, wrong = sample.call(option)
    ruby = option.name == :threads ? "threads 2, 7" : "#{option.name} #{value.inspect}"

    describe "the option #{option.name}" do
      switch = option.switches.last
      words = option.flag? ? ["--no-#{switch[2..]}"] : [switch, text] if switch

      it "has the same value from each source, and knows the source" do
        expected = PushServer::Options.new({ option.name => value }, env: {}, folder: Dir.pwd)[option.name]
        expect(configuration.options.source(option.name)).to be_nil
        if words
          write("# nothing", "a/b") # the configuration file that one of the samples names
          expect(configuration(*words).options).to have_attributes(to_h: include(option.name => expected))
          expect(configuration(*words).options.source(option.name)).to eq(switch)
        end
        option.env.each do |name|
          options = configuration(env: { name => text }).options
          expect([options[option.name], options.source(option.name)]).to eq([expected, "$#{name}"])
        end
        next if option.name == :config

        write("\n#{ruby}\n")
        options = configuration.options
        expect([options[option.name], options.source(option.name)]).to eq([expected, "config/push_server.rb:2"])
      end

      next unless wrong

      it "is refused with a wrong value, which is named with its source" do
        quoted = option.secret? ? "this text" : Regexp.escape(wrong.inspect)
        expect(complaint("#{switch}=#{wrong}")).to match(/\A#{switch} cannot be \[?#{quoted}\]?: give [^\n]+\z/) if switch && !option.flag?
        option.env.each do |name|
          expect(complaint(env: { name => wrong })).to match(/\A\$#{name} cannot be #{quoted}: give [^\n]+\z/)
        end
        write("\n\n#{option.name} #{wrong.inspect}\n")
        message = /\Aconfig.push_server.rb:3: #{option.name} cannot be (\[?)#{quoted}(\]?): give [^\n]+\z/
        expect(complaint).to match(message)
        # Also if it does not count.
        expect(complaint(*words)).to match(message) if words && option.name != :directory
      end
    end
  end

  describe "the order of the sources" do
    it "is command line, environment, file, default" do
      write("threads 2")
      sources = [configuration("-t", "4", env: { "RAILS_MAX_THREADS" => "3" }), configuration(env: { "RAILS_MAX_THREADS" => "3" }),
                 configuration(env: { "RAILS_MAX_THREADS" => " " }), configuration("-C", "-")]
      expect(sources.map { |all| [all.options[:threads], all.options.source(:threads)] })
        .to eq([[4, "--threads"], [3, "$RAILS_MAX_THREADS"], [2, "config/push_server.rb:1"], [5, nil]])
    end

    it "takes WEB_CONCURRENCY as a number, as auto, or not at all if it is blank" do
      allow(PushServer::Processors).to receive(:count).and_return(6)
      workers = ["3", "auto", "AUTO", "", " ", "0"].map { |text| configuration(env: { "WEB_CONCURRENCY" => text }).options[:workers] }
      expect(workers).to eq([3, 6, 6, 0, 0, 0])
      expect(complaint(env: { "WEB_CONCURRENCY" => "all" })).to start_with('$WEB_CONCURRENCY cannot be "all": give auto, or a whole number')
    end
  end

  describe "where the file is" do
    it "is the place for the environment, or else the common one" do
      write("threads 2")
      expect(configuration.file).to eq(File.expand_path("config/push_server.rb"))
      write("threads 3", "config/push_server/staging.rb")
      expect(configuration(env: { "RACK_ENV" => "staging" }).options[:threads]).to eq(3)
      expect(configuration("-e", "staging", env: { "RACK_ENV" => "test" }).options[:threads]).to eq(3)
      expect(configuration(env: { "RACK_ENV" => "test" }).options[:threads]).to eq(2)
    end

    it "is what --config says; - is none" do
      write("threads 2")
      write("threads 7", "other.rb")
      expect(configuration("-C", "other.rb").options[:threads]).to eq(7)
      expect(configuration("-C", "-")).to have_attributes(file: nil)
    end

    it "must exist if it is named" do
      expect(complaint("-C", "nothing.rb")).to eq("--config cannot be \"nothing.rb\": there is no such file in #{Dir.pwd}")
      Dir.mkdir("folder")
      expect(complaint("-C", "folder")).to start_with('--config cannot be "folder"')
    end
  end

  describe "directory" do
    before do
      FileUtils.mkdir_p("app/public")
      write("public_dir 'public'\nthreads 2", "app/config/push_server.rb")
      File.symlink("app", "current")
    end

    it "is where relative paths begin: those of the command line, the configuration file, and what that names" do
      expect(configuration("--directory", "app", "--access-log-file", "a.log").options.to_h)
        .to include(threads: 2, public_dir: File.expand_path("public"), access_log_file: File.expand_path("a.log"))
      expect(Dir.pwd).to end_with("/app")
    end

    it "keeps the symbolic link as it was typed, so that a restart can follow it anew" do
      start = Dir.pwd
      expect(configuration("--directory", "current").options[:directory]).to eq("#{start}/current")
      expect(Dir.pwd).to eq("#{start}/app")
      expect(PushServer::SocketPlaces.current_folder).to eq("#{start}/current")
    end

    it "can be set in the file, which is found before" do
      write("directory 'app'\npublic_dir 'public'")
      expect(configuration.options[:public_dir]).to end_with("/app/public")
      expect(Dir.pwd).to end_with("/app")
    end

    it "is an error if it does not exist" do
      expect(complaint("--directory", "none")).to eq('--directory cannot be "none": give a folder that exists')
    end
  end

  describe "a mistake in the file" do
    {
      "wrokers 2" => "config/push_server.rb:2: there is no word wrokers: did you mean workers?",
      "x = wrokers" => "config/push_server.rb:2: there is no word wrokers: did you mean workers?",
      "on_worker_bot { }" => "config/push_server.rb:2: there is no word on_worker_bot: did you mean on_worker_boot?",
      "zzzzzz" => "config/push_server.rb:2: there is no word zzzzzz: docs/options.md and docs/configuration.md list them all",
      "worker_count 2" => "config/push_server.rb:2: there is no word worker_count: the option is workers",
      "config 'x'" => "config/push_server.rb:2: there is no word config: the command line names the file",
      "threads" => "config/push_server.rb:2: threads needs a value",
      "max_queue 1, 2" => "config/push_server.rb:2: max_queue takes one value, not 2",
      "threads 1, 2, 3" => "config/push_server.rb:2: threads takes one value, not 3",
      "before_fork" => "config/push_server.rb:2: before_fork needs a block",
      "raise 'boom'" => "config/push_server.rb:2: boom (RuntimeError)",
      "nil.foo" => /\Aconfig\/push_server.rb:2: undefined method [`']foo' for nil(?::NilClass)? \(NoMethodError\)\z/,
      "Foo" => /\Aconfig.push_server.rb:2: uninitialized constant .*Foo \(NameError\)\z/,
      "require 'no/such/file'" => "config/push_server.rb:2: cannot load such file -- no/such/file (LoadError)",
      "threads(" => /\Aconfig.push_server.rb:2: .*(unexpected|expected).* \(SyntaxError\)\z/,
      "load 'none.rb'" => %r{\Acannot read the configuration file config/none.rb: No such file or directory\z},
      "load 'other.rb'" => "config/other.rb:3: there is no word foo: docs/options.md and docs/configuration.md list them all",
      "Integer('x')" => 'config/push_server.rb:2: invalid value for Integer(): "x" (ArgumentError)'
    }.each do |source, message|
      it "is one line with the place: #{source}" do
        write("\n\nfoo", "config/other.rb")
        write("\n#{source}\n")
        expect(complaint).to match(message.is_a?(Regexp) ? message : /\A#{Regexp.escape(message)}\z/)
      end
    end

    it "is named with its line also in code that the file requires" do
      write("def helper = raise('lost')", "lib/helper.rb")
      write("require './lib/helper'\nhelper")
      expect(complaint).to eq("lib/helper.rb:1: lost (RuntimeError)")
    end

    it "lets the file end the process" do
      write("exit 3")
      expect { configuration }.to raise_error(SystemExit)
    end
  end

  describe "what the file can say" do
    it "reads another file with load, and returns what is set with get" do
      write("threads get(:max_queue) + 1\nmax_headers get(:max_head, 9)", "config/more.rb")
      write("max_queue 3\nload 'config/more.rb'")
      expect(configuration.options.to_h).to include(threads: 4, max_headers: 9)
      expect(configuration.options.source(:threads)).to eq("config/more.rb:1")
    end

    it "adds to lists, and takes the last value of others" do
      write("bind 'tcp://a:1'\nbind 'tcp://b:2'\nallowed_origins 'https://a', 'https://b'\nthreads 1\nthreads 2")
      expect(configuration.options.to_h).to include(bind: %w[tcp://a:1 tcp://b:2], allowed_origins: %w[https://a https://b], threads: 2)
    end

    it "takes Symbols, Pathnames, nil for off, and true for a switch" do
      write(<<~RUBY)
        require "pathname"
        workers :auto
        log_level :warn
        pidfile Pathname("a.pid")
        ping_interval nil
        worker_timeout :off
        preload
        port nil
      RUBY
      expect(configuration.options.to_h).to include(log_level: :warn, pidfile: File.expand_path("a.pid"), ping_interval: nil,
                                                    worker_timeout: nil, preload: true, port: 9292)
    end

    it "names the config.ru" do
      write("rackup 'other.ru'")
      expect(configuration.rackup).to eq("other.ru")
    end

    it "may begin with a byte order mark, and know its own path" do
      write("\uFEFFtag File.basename(__FILE__) + __dir__[-7..]")
      expect(configuration.options[:tag]).to eq("push_server.rb/config")
    end
  end

  describe "where to listen" do
    def binds(source, *words, env: {})
      write(source)
      configuration(*words, env: env).options.binds
    end

    it "is each bind, and the port as well, as in Puma" do
      expect(binds("bind 'unix:///s'\nport 3000", "-e", "production")).to eq(%w[unix:///s tcp://*])
      expect(binds("port 3000, '0.0.0.0'")).to eq(%w[tcp://0.0.0.0])
      expect(binds("bind 'unix:///s'\nport 3000", env: { "PORT" => "4000" })).to eq(%w[unix:///s tcp://localhost])
      expect(binds("bind 'unix:///s'", env: { "PORT" => "4000" })).to eq(%w[unix:///s])
    end

    it "is once where the port completes a URL" do
      expect(binds("bind 'tcp://127.0.0.1'\nport 3000")).to eq(%w[tcp://127.0.0.1])
    end

    it "is each ssl_bind, with paths that have any character" do
      expect(binds("ssl_bind '0.0.0.0', 443, cert: '/a b&c.pem', key: 'k%', ca: nil, verify_mode: :peer"))
        .to eq(%w[ssl://0.0.0.0:443?cert=/a%20b%26c.pem&key=k%25&verify_mode=peer])
      expect(binds("ssl_bind '::1', 443, { cert: 'c', key: 'k' }")).to eq(%w[ssl://[::1]:443?cert=c&key=k])
    end

    it "is what the command line says instead" do
      expect(binds("bind 'unix:///s'\nport 3000", "-b", "tcp://a:1")).to eq(%w[tcp://a:1])
      expect(binds("bind 'unix:///s'\nport 3000", "-p", "1")).to eq(%w[tcp://localhost])
      expect(binds("bind 'unix:///s'\nclear_binds!")).to eq(%w[tcp://localhost])
      expect(binds("bind 'unix:///s'\nbind_to_activated_sockets 'only'")).to eq(%w[tcp://localhost])
    end
  end

  describe "hooks" do
    it "run in the order of the file, with their arguments, under both names" do
      seen = []
      stub_const("SEEN", seen)
      write(<<~RUBY)
        before_worker_boot { |number| SEEN << [:one, number] }
        on_worker_boot { SEEN << :two }
        on_worker_boot(&->(number) { SEEN << [:lambda, number] })
        before_worker_boot(:metrics) { |number, data| data[:number] = number }
        before_worker_shutdown("metrics") { |_, data| SEEN << data }
        before_fork(&-> { SEEN << :none })
      RUBY
      hooks = configuration("-w", "1").hooks
      hooks.call(:before_worker_boot, 4)
      hooks.call(:before_worker_shutdown, 4)
      hooks.call(:before_fork)
      expect(seen).to eq([[:one, 4], :two, [:lambda, 4], { number: 4 }, :none])
    end

    it "go on after an exception, which is logged with the place of the hook" do
      allow(PushServer).to receive(:log_exception) { |place, error| logged << "#{place}: #{error.message}" }
      write("\nafter_booted { raise 'boom' }\nafter_booted { require 'no/such/file' }\nafter_booted { PushServer.log(:info, 'three') }")
      configuration.hooks.call(:after_booted)
      expect(logged).to eq(["after_booted (config/push_server.rb:2): boom",
                            "after_booted (config/push_server.rb:3): cannot load such file -- no/such/file", "info: three"])
    end

    it "are named in one line, with the message and the class, if a worker cannot boot because one raises" do
      { "raise 'no luck'" => /no luck \(RuntimeError\)/, 'raise "no\nluck"' => /no \(RuntimeError\)/,
        "nil.foo" => /undefined method [`']foo' for nil(?::NilClass)? \(NoMethodError\)/ }.each do |code, message|
        write("before_worker_boot { #{code} }")
        hooks = configuration("-w", "1").hooks
        expect { hooks.call!(:before_worker_boot, 1) }.to raise_error(
          PushServer::Error, %r{\Abefore_worker_boot \(config/push_server.rb:1\) raises: #{message}\z}
        )
      end
    end

    PushServer::Hooks::ALIASES.each do |puma, name|
      it "are known by Puma's name #{puma}" do
        write("#{puma} { }")
        expect(configuration("-w", "1").hooks.any?(name)).to be(true)
      end
    end

    it "that need workers do not run in one process, which is logged unless the file forbids it" do
      write("on_worker_boot { }\nafter_booted { }\nbefore_fork { }")
      configuration
      expect(logged).to eq(["warn: config/push_server.rb:1: on_worker_boot does not run: without workers there is one process",
                            "warn: config/push_server.rb:3: before_fork does not run: without workers there is one process"])
      logged.clear
      configuration("-w", "1")
      write("on_worker_boot { }\nsilence_fork_callback_warning")
      configuration
      expect(logged).to eq([])
    end
  end

  describe "Puma's words" do
    PushServer::PumaWords::IGNORED.each do |word, reason|
      it "warns that #{word} has no effect" do
        write("\n#{word} 1, key: 2 do\nend")
        configuration
        expect(logged).to eq(["warn: config/push_server.rb:2: #{word} has no effect: #{reason}"])
      end
    end

    PushServer::PumaWords::REFUSED.each do |word, advice|
      it "refuses #{word}" do
        write("\n#{word} 1 do\nend")
        expect(complaint).to eq("config/push_server.rb:2: there is no #{word}: #{advice}")
      end
    end

    it "takes those with another name" do
      write("first_data_timeout 3\npersistent_timeout 4\nhttp_content_length_limit 5\nworker_shutdown_timeout 6\nset_default_host 'h'")
      expect(configuration.options.to_h).to include(head_timeout: 3, keep_alive_timeout: 4, max_body_size: 5, drain_timeout: 6, host: "h")
      { "log_requests" => { access_log: :combined }, "log_requests false" => { access_log: :off }, "quiet" => { log_level: :warn },
        "quiet false" => { log_level: :info }, "debug" => { log_level: :debug }, "force_shutdown_after 9" => { drain_timeout: 9 },
        "force_shutdown_after :immediately" => { drain_timeout: 0 } }.each do |source, values|
        write(source)
        expect(configuration.options.to_h).to include(values)
      end
    end

    it "knows the plugins of Rails' own file, and refuses others" do
      write("plugin :tmp_restart")
      configuration
      expect(logged).to match([%r{\Awarn: config/push_server.rb:1: the plugin tmp_restart has no effect: .*push_server restart}])
      write("plugin :solid_queue")
      expect(complaint).to start_with("config/push_server.rb:1: there is no plugin solid_queue: ")
    end

    it "reads the file that Rails makes for Puma" do
      write(<<~RUBY)
        threads_count = ENV.fetch("RAILS_MAX_THREADS", 3)
        threads threads_count, threads_count
        port ENV.fetch("PORT", 3000)
        plugin :tmp_restart
        plugin :solid_queue if ENV["SOLID_QUEUE_IN_PUMA"]
        pidfile ENV["PIDFILE"] if ENV["PIDFILE"]
      RUBY
      expect(configuration.options.to_h).to include(threads: 3, port: 3000, pidfile: nil)
    end

    # The public methods of Puma::DSL, of versions 6 and 7.
    words = %w[
      activate_control_app after_booted after_refork after_stopped after_worker_boot after_worker_fork app before_fork before_refork
      before_restart before_thread_exit before_thread_start before_worker_boot before_worker_fork before_worker_shutdown bind
      bind_to_activated_sockets clean_thread_locals clear_binds! custom_logger debug directory drain_on_shutdown early_hints
      enable_keep_alives environment extra_runtime_dependencies fiber_per_request first_data_timeout force_shutdown_after fork_worker get
      http_content_length_limit idle_timeout inject io_selector_backend load log_formatter log_requests lowlevel_error_handler
      max_fast_inline max_keep_alive mutate_stdout_and_stderr_to_sync_on_write on_booted on_refork on_restart on_stopped on_thread_exit
      on_thread_start on_worker_boot on_worker_fork on_worker_shutdown out_of_band persistent_timeout pidfile plugin port preload_app!
      prune_bundler queue_requests quiet rack_url_scheme rackup raise_exception_on_sigterm restart_command set_default_host
      set_remote_address shutdown_debug silence_fork_callback_warning silence_single_worker_warning ssl_bind state_path
      state_permission stdout_redirect supported_http_methods tag threads wait_for_less_busy_worker worker_boot_timeout
      worker_check_interval worker_culling_strategy worker_shutdown_timeout worker_timeout workers
    ]

    it "are all known, and are all in docs/puma.md" do
      page = File.read(File.expand_path("../../docs/puma.md", __dir__))
      expect(words.map(&:to_sym) - PushServer::ConfigurationWords.public_instance_methods(false)).to eq([])
      expect(words.reject { |word| page.include?("| `#{word}` |") }).to eq([])
    end

    it "are described in docs/puma.md as they are now (bin/run rake docs)" do
      require_relative "../../rakelib/puma_words_table"
      expect(File.read(PumaWordsTable::PATH)).to eq(PumaWordsTable.markdown)
    end
  end
end
