# frozen_string_literal: true

require_relative "../link"
require_relative "child"

module PushServer
  class Supervisor
    # A child that loads the app: a leader or a worker. It has a {Link} with the supervisor, and a lifeline, on which its
    # native thread gets orders for which Ruby might be too busy. One thread.
    class RubyChild < Child
      # @return [Lines] the supervisor's end
      attr_reader :lifeline

      # @param former [Hash{Symbol => Object}, nil] of a child that was handed over
      def initialize(parts, former = nil)
        # First, because the loop watches the link from its creation on, also if there is no descriptor left for a lifeline.
        @lifeline = former ? Lines.restore(former[:lifeline], waits: false) : new_lifeline
        super(parts, *(former ? [Link.restore(former[:link]), nil] : Link.pair))
        # The child writes nothing there. What comes is the end.
        parts.events.watch(@lifeline) { parts.events.forget(@lifeline) }
      end

      # As {Child#handover}.
      def handover = super.merge(lifeline: lifeline)

      # Starts the command of this server again, for a role.
      # @param role ["leader", "worker"]
      def start(role)
        running(parts.command.spawn(role, @far_link))
        @far_link.close
      rescue Error => e
        failed(e.message)
      end

      # Sends the first message, with the child's end of the lifeline as the first descriptor.
      def boot(fds: [], **fields)
        send(:boot, fds: [@far_lifeline, *fds], **fields)
        @far_lifeline.close
      end

      # Sends a message, as {Link#send}. A child that cannot be sent its descriptors is given up.
      # @return [Boolean] false if the child is gone
      def send(kind, **fields)
        sending { link.send(kind, **fields) }
      rescue SystemCallError => e
        give_up("the supervisor cannot send it descriptors: #{e.message}")
        false
      end

      # Writes a line to the child's native thread, as {Lines#write}.
      # @return [Boolean] false if the child is gone
      # @raise [SystemCallError] if the descriptors cannot be sent
      def tell(line, ios = []) = sending { lifeline.write(line, ios) }

      # It could not be started, or has told why it ends.
      # @param why [String]
      def failed(why)
        @failure = why
        finish("before it had a pid") unless pid
      end

      # As {Child#give_up}. The reason is also why it has ended.
      def give_up(why)
        @failure ||= why
        super
      end

      # Why it has ended, for the log: what it has told itself, or how the process ended.
      # @return [String]
      def reason(how) = @failure || "it ended #{how}"

      private

      def new_lifeline
        near, @far_lifeline = Lines.sockets
        Lines.new(near, waits: false)
      end

      # @return [Link::Message, nil, :eof]
      def next_message = link.receive(0)

      def close
        super
        parts.events.forget(lifeline)
        [lifeline, @far_lifeline].compact.each(&:close)
      end
    end
  end
end
