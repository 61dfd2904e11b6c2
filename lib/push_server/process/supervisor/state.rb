# frozen_string_literal: true

require "json"
require_relative "../../errors"
require_relative "../exec_variables"

module PushServer
  class Supervisor
    # What a supervisor hands over to itself when it executes itself anew: values that JSON can represent, and anywhere among
    # them open descriptors, which keep their numbers, and {Lines} and {Link}s. It travels in a file in memory. The environment
    # has only that file's number.
    #
    # Another version of push_server may read what this one has written, so the form has a number. A newer version reads the
    # forms {READABLE}. A check child asks {.check_form} before the exec, so that a supervisor never executes a program that
    # cannot take its children over.
    class State
      # The environment variable with the file's number.
      VARIABLE = ExecVariables::STATE
      # The form that this version writes. To be raised when a field changes its meaning or is no longer written; a field that
      # is only added does not need that.
      FORM = 1
      # The forms that this version reads.
      READABLE = (1..1)
      # The key of a descriptor's number.
      DESCRIPTOR = "descriptor"
      private_constant :DESCRIPTOR

      # Whether this version can take over from one that writes another form.
      # @param form [Integer]
      # @raise [Error]
      def self.check_form(form)
        return if READABLE.cover?(form)

        raise Error, "push_server #{VERSION} cannot take over from the version that runs: stop the server, and start it again"
      end

      # What the process before this one has left. The variable is removed from the environment, so that no child sees it.
      # @param env [#delete] the environment variables
      # @return [Hash{Symbol => Object}, nil] the fields; a descriptor is its Integer number, which belongs to the caller and is
      #   closed in programs that the process starts. nil if there is nothing, or if it was meant for another process
      # @raise [Error] if this version cannot read it
      def self.take(env = ENV)
        number = env.delete(VARIABLE) or return
        text = File.for_fd(Integer(number, 10), "r+b").then { |file| file.pread(file.size, 0).tap { file.close } }
        written = JSON.parse(text, symbolize_names: true)
        return unless written.fetch(:pid) == Process.pid

        check_form(written.fetch(:form))
        adopt(written.fetch(:fields))
      rescue JSON::ParserError, KeyError, ArgumentError, SystemCallError
        raise Error, "the variable #{VARIABLE} is only for push_server itself: remove it from the environment"
      end

      # Replaces each descriptor by its number.
      def self.adopt(value)
        case value
        when Array then value.map { |item| adopt(item) }
        when Hash
          return value.transform_values { |item| adopt(item) } unless value.keys == [DESCRIPTOR.to_sym]

          value.each_value { |number| close_on_exec(number) }.fetch(DESCRIPTOR.to_sym)
        else value
        end
      end
      private_class_method :adopt

      def self.close_on_exec(number)
        io = IO.for_fd(number, autoclose: false)
        io.close_on_exec = true
      end
      private_class_method :close_on_exec

      # @param fields [Hash{Symbol => Object}] values that JSON can represent, IOs, and what has `handover`, as {Lines#handover}
      # @param form [Integer] for tests
      # @raise [SystemCallError] if there is no file for it
      def initialize(fields, form: FORM)
        @ios = []
        text = JSON.generate(pid: Process.pid, form: form, fields: describe(fields))
        @file = File.for_fd(NativeProcess.memory_file("push_server_state", text.bytesize), "r+b")
        @file.pwrite(text, 0)
      end

      # @return [Hash{String => String}] the variable for Process.exec
      def environment = { VARIABLE => @file.fileno.to_s }

      # @return [Hash{IO => IO}] options for Process.exec: what stays open
      def descriptors = [@file, *@ios].uniq(&:fileno).to_h { |io| [io.fileno, io.fileno] }

      # To be called when the exec has failed. The descriptors still belong to the caller; programs that it starts do not
      # inherit them.
      def close
        @ios.each { |io| io.close_on_exec = true unless io.closed? }
        @file.close
      end

      private

      def describe(value)
        case value
        when Hash then value.transform_values { |item| describe(item) }
        when Array then value.map { |item| describe(item) }
        when String, Symbol, Numeric, true, false, nil then value
        when IO
          @ios << value
          { DESCRIPTOR => value.fileno }
        else describe(value.handover)
        end
      end
    end
  end
end
