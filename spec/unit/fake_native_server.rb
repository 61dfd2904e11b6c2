# frozen_string_literal: true

# A reactor that serves nobody: workers wait in it until it is stopped, and it writes down what it was told.
class FakeNativeServer
  class << self
    # The one made last.
    attr_accessor :last
    # What `new` raises, if anything.
    attr_accessor :refusal
    attr_writer :log_level
  end

  attr_reader :app, :settings, :listeners, :told
  # What the workers do next, as Procs; without one they wait.
  attr_reader :work_to_do
  # Whether a drain finishes in time.
  attr_writer :drains

  def initialize(app, settings)
    raise ArgumentError, self.class.refusal if self.class.refusal

    @app = app
    @settings = settings
    @listeners = []
    @told = Thread::Queue.new
    @work_to_do = Thread::Queue.new
    @drains = true
    @hold = Thread::Queue.new
    @shortage = Thread::Queue.new
    self.class.last = self
  end

  def listen(fileno, template)
    lent = Socket.for_fd(fileno)
    lent.autoclose = false
    @listeners << [lent.dup, template]
  end

  def start = @told << :start

  def work
    @told << :work
    while (task = @work_to_do.pop)
      task.call
    end
  end

  def workers_left=(count)
    @told << [:workers_left, count]
  end

  # No body ever lasts.
  def await_shortage
    @shortage.pop
    false
  end

  def reopen_logs = @told << :reopen_logs

  def stats = { connections: 0 }

  # Waits while `hold_drain` says so.
  def drain(seconds)
    @told << [:drain, seconds]
    @hold.pop if @held
    @drains
  end

  def hold_drain = @held = true

  def release_drain = @hold << nil

  def stop
    @told << :stop
    @work_to_do.close
    @shortage.close
    @listeners.each { |socket, _| socket.close }
  end

  # All it has been told so far, in order.
  def story = Array.new(@told.size) { @told.pop }
end
