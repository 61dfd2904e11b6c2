# frozen_string_literal: true

require_relative "deadline"

# For state that announces itself by no event (a counter in /proc, the size of a queue): asks again until the block
# returns something truthy, and returns that.
module Eventually
  POLL = 0.01

  def eventually(what = "the condition to hold", seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    loop do
      value = yield
      return value if value

      deadline.check!(what)
      sleep POLL
    end
  end

  # The same as an expectation, for an example that is about just that.
  def expect_eventually(what = "the condition to hold", **deadline, &condition)
    expect(eventually(what, **deadline, &condition)).to be_truthy
  end
end
