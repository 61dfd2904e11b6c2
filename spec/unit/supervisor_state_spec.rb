# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/command"
require "push_server/process/supervisor/state"

RSpec.describe PushServer::Supervisor::State do
  include Command

  # A program that executes itself anew. `before` runs first and gives the fields; what `after` prints comes from the second run,
  # which has them as `state`.
  def run_twice(before, after, form: described_class::FORM)
    program = <<~RUBY
      require "push_server"
      require "push_server/process/supervisor/state"
      State = PushServer::Supervisor::State
      if PushServer::ExecVariables.hidden.any?
        state = State.take(PushServer::ExecVariables.hidden)
        #{after}
      else
        written = State.new(begin; #{before}; end, form: #{form})
        exec(written.environment, RbConfig.ruby, $0, **written.descriptors)
      end
    RUBY
    run_command(RbConfig.ruby, "twice.rb", files: { "twice.rb" => program })
  end

  it "carries values over the exec" do
    result = run_twice('{ numbers: [1, 2.5, nil], names: { a: "é" }, on: true }', "p state, ENV.key?(State::VARIABLE)")
    expect(result.out).to eq(%({:numbers=>[1, 2.5, nil], :names=>{:a=>"é"}, :on=>true}\nfalse\n))
  end

  it "keeps the descriptors that are among them, and no others" do
    result = run_twice('$pipe = IO.pipe; $other = IO.pipe; $pipe.last.write("hello"); $pipe.last.close; { children: [{ link: $pipe.first }] }',
                       <<~RUBY)
                         number = state.fetch(:children).first.fetch(:link)
                         puts IO.for_fd(number).read, IO.for_fd(number, autoclose: false).close_on_exec?
                         puts Dir.children("/proc/self/fd").map(&:to_i).select { |fd| fd > 2 && File.readlink("/proc/self/fd/\#{fd}").start_with?("pipe") rescue false }.size
                       RUBY
    expect(result.out.lines.first(2)).to eq(%W[hello\n true\n])
  end

  it "refuses a form that it does not know, and says what to do" do
    result = run_twice("{}", "", form: 99)
    expect(result.err).to include("cannot take over from the version that runs: stop the server, and start it again")
  end

  it "is not for a child that has inherited the variable" do
    result = run_twice("{ a: 1 }", "p state", form: 1)
    expect(result.out).to eq("{:a=>1}\n")
    script = <<~RUBY
      require "push_server"
      require "push_server/process/supervisor/state"
      written = PushServer::Supervisor::State.new({ a: 1 })
      system(written.environment, RbConfig.ruby, "-rpush_server", "-rpush_server/process/supervisor/state",
             "-e", "p PushServer::Supervisor::State.take(PushServer::ExecVariables.hidden)", **written.descriptors)
    RUBY
    expect(run_command(RbConfig.ruby, "-e", script).out).to eq("nil\n")
  end

  it "says that the variable is not for users" do
    expect { described_class.take({ "PUSH_SERVER_STATE" => "banana" }) }.to raise_error(PushServer::Error, /remove it from the environment/)
  end
end
