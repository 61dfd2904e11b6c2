# frozen_string_literal: true

require_relative "../errors"
require_relative "validity"

module PushServer
  # The certificates of an endpoint for TLS: where their files are, and what was last read there. One thread at a time.
  class Certificates
    # What clients must show: nothing; a certificate, if they have one; a certificate.
    VERIFY_MODES = %w[none peer force_peer].freeze
    # Seconds after a change of a file in which others may follow.
    SETTLING = 1
    # Seconds between two attempts to read files that have just changed.
    PAUSE = 0.1
    private_constant :SETTLING, :PAUSE

    # @return [Hash{Symbol => Object}, nil] what NativeServer takes; nil before {#load}
    attr_reader :content

    # @param pairs [Array<Array(String, String)>] paths: of a certificate, with those of its issuers behind it, and of its key.
    #   The first pair is for clients that ask for no name, or for one that no certificate is for
    # @param authority [String, nil] the path of the certificates that client certificates are issued by
    # @param verify_mode [String] of {VERIFY_MODES}
    def initialize(pairs, authority: nil, verify_mode: "none")
      @pairs = pairs
      @authority = authority
      @verify_mode = verify_mode
    end

    # Whether clients are asked for a certificate.
    def verify? = @verify_mode != "none"

    # Reads the files, unless that has been done. If they cannot be used, and one has just changed, waits a moment: while a
    # certificate and its key are being replaced, they do not belong together.
    # @return [self]
    # @raise [Error] if they cannot be used
    def load
      return self if content

      patience = (SETTLING / PAUSE).ceil
      begin
        renew!
      rescue Error
        raise if (patience -= 1).negative? || settled?

        sleep PAUSE
        retry
      end
      self
    end

    # @return [Array<String>] lines for the log about certificates that have expired, or will soon: what has not been said since
    #   the files were read
    def warnings = @validity&.warnings.to_a

    # Reads the files again.
    # @raise [Error] if they cannot be used: then what was read before stays, and {#renew} does not raise the same
    def renew!
      now = signature
      use(now)
    rescue Error
      @seen = now
      raise
    end

    # Reads the files again if they have changed since the last time. While a certificate and its key are being replaced, they
    # do not belong together: so this raises only if they cannot be used although they have not changed since the last call.
    # @return [Boolean] whether they have changed, and can be used
    # @raise [Error] once for each change
    def renew
      now = signature
      return false if now == @seen

      use(now)
      true
    rescue Error
      settled = now == @failed
      @failed = now
      return false unless settled

      @seen = now
      raise
    end

    private

    def files = [*@pairs.flatten, *@authority].uniq

    # Whether no file has changed a moment ago.
    def settled?
      files.none? { |path| File.exist?(path) && (Time.now - File.mtime(path)).between?(0, SETTLING) }
    rescue SystemCallError
      true
    end

    # Another value, if a file was written or replaced.
    def signature
      files.map do |path|
        status = File.stat(path)
        [status.dev, status.ino, status.size, status.mtime, status.ctime]
      rescue SystemCallError
        nil
      end
    end

    # Reads the files, of which this is the signature.
    def use(signature)
      fresh = read
      @validity = Validity.new(NativeServer.check_tls(fresh))
      @content = fresh
      @seen = signature
    rescue ArgumentError => e
      raise Error, e.message
    end

    def read
      { certificates: @pairs.map { |pair| pair.map { |path| file(path) } }, ca: @authority && file(@authority),
        verify_mode: @verify_mode }
    end

    # @return [Array(String, String)] the path, for errors, and what is in the file
    def file(path)
      [path.b, File.binread(path)]
    rescue SystemCallError => e
      raise Error, "cannot read #{path}: #{e.message.sub(/ @ .*/, "")}"
    end
  end
end
