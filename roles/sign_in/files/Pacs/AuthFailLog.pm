package Pacs::AuthFailLog;

# One line for each failed sign-in, with the address it came from, which LemonLDAP::NG's own lines lack: Fail2Ban reads it.
use strict;
use Mouse;
use Lemonldap::NG::Portal::Main::Constants qw(
  PE_USERNOTFOUND PE_BADCREDENTIALS PE_MALFORMEDUSER PE_BADOLDPASSWORD PE_NOTOKEN PE_WAIT PE_BADOTP PE_WEBAUTHNFAILED
);

extends 'Lemonldap::NG::Portal::Main::Plugin';

use constant aroundSub => { extractFormInfo => 'watch', getUser => 'watch', authenticate => 'watch', setPersistentSessionInfo => 'watch' };

# Codes that tell of guessing. Others are a form opened for the first time, a password to be changed, a directory that is down.
my %GUESS = map { $_ => 1 } (
    PE_USERNOTFOUND, PE_BADCREDENTIALS, PE_MALFORMEDUSER, PE_BADOLDPASSWORD, PE_NOTOKEN, PE_WAIT, PE_BADOTP, PE_WEBAUTHNFAILED
);

sub init { 1 }

sub watch {
    my ( $self, $sub, $req ) = @_;
    my $result = $sub->($req);
    $self->tell( $req, $req->{user} // $req->param('user'), $result ) if $GUESS{$result};
    return $result;
}

sub tell {
    my ( $self, $req, $user, $code ) = @_;
    # What somebody typed must not be able to end this line and begin another.
    $user = substr( ( $user // '' ) =~ s/[^\w.@+-]/_/gra, 0, 64 ) || '-';
    $self->userLogger->warn( sprintf 'PACS-LOGIN-FAILED rhost=%s user=%s code=%d', $req->address, $user, $code );
    return;
}

1;
