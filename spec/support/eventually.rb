# frozen_string_literal: true

require_relative "deadline"

# For conditions without an event, such as a counter in /proc or the size of a queue: calls the block until it returns something
# truthy, and returns that.
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

  # The same as an expectation.
  def expect_eventually(what = "the condition to hold", **deadline, &condition)
    expect(eventually(what, **deadline, &condition)).to be_truthy
  end
end
