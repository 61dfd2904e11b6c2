# frozen_string_literal: true

require "json"
require "open3"
require "tmpdir"
require_relative "unit_helper"
require_relative "../support/deadline"
require "push_server/process/original_command"

RSpec.describe PushServer::OriginalCommand do
  def command(arguments, environment) = described_class.new(arguments, environment, folder: "/srv/app")

  # Whoever starts a program, in a folder that is reached by a symlink.
  def run_in(folder, *words, env: {})
    Open3.capture2e({ "RUBYLIB" => $LOAD_PATH.join(":"), "PWD" => folder, "RUBYOPT" => nil, **env }, *words, chdir: folder)
  end

  around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }

  it "starts the same program again, with Ruby's switches, as a child with a role and a link" do
    File.write("#{@dir}/app.rb", <<~'RUBY')
      require "push_server"
      require "push_server/process/original_command"
      if (role = PushServer::Role.current)
        role.link.send(:told, role: role.name, arguments: ARGV, verbose: $VERBOSE, env: ENV.slice("OWN", "NOTIFY_SOCKET", "CHANGED"),
                              ignored: %w[TERM USR1 TTIN].map { |name| trap(name, "DEFAULT") },
                              left: ENV.keys.grep(/\APUSH_SERVER_(ROLE|LINK)/), same: PushServer::Role.current.equal?(role))
      else
        command = PushServer::OriginalCommand.current
        ENV["CHANGED"] = "by the app"
        ARGV.clear
        parent, child = PushServer::Link.pair
        pid = command.spawn("check", child)
        child.close
        puts parent.receive(10).fields.to_json, parent.receive(10), Process.wait2(pid).last.exitstatus
      end
    RUBY
    out, = run_in(@dir, RbConfig.ruby, "-w", "app.rb", "a b", "", env: { "OWN" => "1", "NOTIFY_SOCKET" => "/n" })
    told, ended, status = out.lines
    expect(JSON.parse(told)).to eq("role" => "check", "arguments" => ["a b", ""], "verbose" => true, "env" => { "OWN" => "1" },
                                   "ignored" => %w[IGNORE IGNORE IGNORE],
                                   "left" => [], "same" => true)
    expect([ended, status]).to eq(%W[eof\n 0\n])
  end

  it "follows a symlink in the folder's path anew, also when it executes itself" do
    %w[one two].each do |release|
      Dir.mkdir("#{@dir}/#{release}")
      File.write("#{@dir}/#{release}/app.rb", <<~RUBY)
        require "push_server"
        require "push_server/process/original_command"
        puts [#{release.inspect}, Process.pid, ENV["PWD"]].inspect
        $stdout.flush
        exit if ENV.key?("AGAIN")
        command = PushServer::OriginalCommand.current
        File.unlink("#{@dir}/current")
        File.symlink("#{@dir}/two", "#{@dir}/current")
        $0 = "another title"
        command.exec(PushServer::Inheritance.new, added: { "AGAIN" => "1" })
      RUBY
    end
    File.symlink("#{@dir}/one", "#{@dir}/current")
    out, = run_in("#{@dir}/current", RbConfig.ruby, "app.rb")
    before, after = out.lines.map { |line| eval(line) } # rubocop:disable Security/Eval -- printed by the program above
    expect(before).to match(["one", Integer, "#{@dir}/current"])
    expect(after).to eq(["two", before[1], "#{@dir}/current"])
  end

  it "undoes what Bundler has changed" do
    preserved = { "BUNDLER_ORIG_RUBYOPT" => "-w", "BUNDLER_ORIG_PATH" => "/bin",
                  "BUNDLER_ORIG_BUNDLE_GEMFILE" => "BUNDLER_ENVIRONMENT_PRESERVER_INTENTIONALLY_NIL" }
    bundled = { "RUBYOPT" => "-rbundler/setup -w", "PATH" => "/gems:/bin", "BUNDLE_GEMFILE" => "/srv/1/Gemfile", "A" => "b" }
    left = { "RUBYOPT" => "-w", "PATH" => "/bin", "A" => "b", "PWD" => "/srv/app" }

    expect(command(%w[/bin/bundle exec push_server], bundled.merge(preserved)).environment).to eq(left)
    # Nothing else sets Bundler up here, so the new process is told to.
    expect(command(%w[/gems/bin/push_server], bundled.merge(preserved)).environment)
      .to eq(left.merge("RUBYOPT" => "-rbundler/setup -w"))
    expect(command(%w[/gems/bin/push_server], { "A" => "b" }).environment).to eq("A" => "b", "PWD" => "/srv/app")
  end

  it "hands on none of the variables between processes of one server" do
    own = { "PUSH_SERVER_ROLE" => "leader", "PUSH_SERVER_LINK" => "3", "PUSH_SERVER_SOCKETS" => "{}" }
    expect(command(["app.rb"], own).environment).to eq("PWD" => "/srv/app")
  end

  it "says in one line what it cannot start" do
    parent, child = PushServer::Link.pair
    gone = described_class.new(["app.rb"], {}, folder: "#{@dir}/gone")
    pid = gone.spawn("check", child)
    expect(parent.receive(Deadline::PATIENCE)[:message]).to match(%r{\Acannot start \S+ app\.rb in #{@dir}/gone: No such})
    expect(Process.wait2(pid).last.exitstatus).to eq(127)
    expect { gone.exec(PushServer::Inheritance.new) }.to raise_error(PushServer::Error, /\Acannot execute /)
  ensure
    [parent, child].each(&:close)
  end
end
